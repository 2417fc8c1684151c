"""Whole sessions: a real manager process, real FFmpegs, agents that speak the real protocol."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from capture_protocol import Manifest, SegmentName, Start, TuttiError
from capture_protocol.control import Registered, Sealed
from capture_protocol.handshake import (
    CHALLENGE_SIZE,
    WELCOME_SIZE,
    Hello,
    Verdict,
    pack_hello,
    unpack_challenge,
    unpack_welcome,
)
from control_server.segmenter.admission import MIB
from control_server.segmenter.local_supervisor import MAX_WAITING
from control_server.session.segment_scan import scan_segment
from tests.support.fake_agent import FakeAgent
from tests.support.served_rig import ServedRig, wait_until


def entries(manifest: Manifest, camera: str) -> list[object]:
    return [entry for entry in manifest.segments if entry.camera == camera]


def test_records_stops_on_one_slot_and_seals(tmp_path: Path) -> None:
    with ServedRig(tmp_path, nodes=2) as rig:
        rig.add_agents()
        started = rig.start()
        assert started["session"] == 1
        assert rig.status().session.phase == "recording"
        wait_until(lambda: rig.status().session.segments >= 4, "closed segments")
        stopped = rig.stop()
        assert stopped["complete"]
        assert stopped["reason"] == ""
        manifest = rig.folder(1).read_manifest()
        for camera in manifest.cameras:
            assert camera.frames == stopped["last_slot"] + 1
            assert camera.missing == []
            assert camera.parts == 1
        boundaries = [
            [
                (entry.segment, entry.first_slot, entry.last_slot)
                for entry in entries(manifest, name)
            ]
            for name in ("cam0", "cam1")
        ]
        assert boundaries[0] == boundaries[1]
        assert all(first == number * 10 for number, first, _ in boundaries[0])
        assert len(manifest.logs) == 4
        assert {log.records for log in manifest.logs} == {5}
        assert rig.folder(1).frames_path.exists()
        wait_until(
            lambda: all(Sealed(session=1, complete=True) in agent.received for agent in rig.agents),
            "agents to hear that it is sealed",
        )


def test_length_is_kept_and_numbers_go_up(tmp_path: Path) -> None:
    with ServedRig(tmp_path, nodes=1) as rig:
        rig.add_agents()
        for session, request in ((1, {"frames": 15}), (2, {"duration_s": 0.4})):
            assert rig.start(**request)["session"] == session
            manifest = rig.sealed(session)
            assert manifest.last_slot == (14 if session == 1 else 11)
            assert manifest.cameras[0].frames == manifest.last_slot + 1


def test_two_starts_at_once_give_one_session(tmp_path: Path) -> None:
    with ServedRig(tmp_path, nodes=1) as rig:
        rig.add_agents()
        rig.serve()
        outcomes: list[object] = []

        def start() -> None:
            try:
                outcomes.append(rig.start()["session"])
            except TuttiError as error:
                outcomes.append(str(error))

        threads = [threading.Thread(target=start) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert 1 in outcomes
        assert "server session: session 1 is recording" in outcomes
        rig.stop()


def test_start_lost_on_the_way_is_brought_by_the_link(tmp_path: Path) -> None:
    with ServedRig(tmp_path, nodes=2) as rig:
        rig.add_agent(0)
        deaf = rig.add_agent(1, hears_udp=False)
        rig.start()
        wait_until(lambda: deaf.starts, "START by the link")
        assert set(deaf.starts) == {bytes.fromhex(rig.folder(1).read_plan().start_datagram)}
        stopped = rig.stop()
        assert stopped["complete"]
        late = next(camera for camera in stopped["cameras"] if camera["camera"] == "cam1")
        assert late["frames"] + late["missing"] == stopped["last_slot"] + 1


def test_start_names_the_camera_that_does_not_record(tmp_path: Path) -> None:
    with ServedRig(tmp_path, nodes=2, session={"drain_timeout_s": 0.5}) as rig:
        rig.add_agent(0)
        rig.add_agent(1, refuses="the lens cap is on")
        with pytest.raises(TuttiError, match="cam1: node1 refused START: the lens cap is on"):
            rig.start()
        stopped = rig.stop()
        assert not stopped["complete"]
        assert "cam1: video is missing from slot 0 on" in stopped["reason"]
        assert "cam0" not in stopped["reason"]


def test_preflight_refuses_a_silent_node_and_a_bad_clock(tmp_path: Path) -> None:
    with ServedRig(tmp_path, nodes=2, session={"drain_timeout_s": 0.5}) as rig:
        rig.add_agent(0, clock_problem="no PTP master")
        with pytest.raises(TuttiError, match="node0 clock: no PTP master") as caught:
            rig.start()
        assert caught.value.exit_code == 3
        assert "1 more" in str(caught.value)
        with pytest.raises(TuttiError, match="cam1: node1 is silent"):
            rig.start(force=True)
        assert rig.folder(1).read_plan().forced
        rig.stop()


def test_t0_in_the_past_is_refused_and_costs_no_number(tmp_path: Path) -> None:
    with ServedRig(tmp_path, nodes=1) as rig:
        rig.add_agents()
        with pytest.raises(TuttiError, match="t0 lies in the past") as caught:
            rig.start(at_ns=time.time_ns() - 10**9)
        assert caught.value.exit_code == 2
        assert not rig.folder(1).path.exists()


def test_killed_manager_is_started_again_and_goes_on(tmp_path: Path) -> None:
    with ServedRig(tmp_path, nodes=2) as rig:
        agents = rig.add_agents()
        rig.start()
        first = rig.status().pid
        before = rig.ffmpegs("cam0") + rig.ffmpegs("cam1")
        rig.kill_server()
        assert set(before) <= set(rig.ffmpegs("cam0") + rig.ffmpegs("cam1"))
        status = rig.status()  # any command brings it back
        assert status.pid != first
        assert status.session.session == 1
        assert status.session.phase == "recording"
        wait_until(lambda: rig.status().session.segments >= 4, "old segments to be read again")
        stopped = rig.stop()
        assert stopped["complete"]
        assert [camera["missing"] for camera in stopped["cameras"]] == [0, 0]
        assert all(agent.cameras == {} or agent.start_message for agent in agents)
        assert all(camera.connections == 1 for agent in agents for camera in agent.cameras.values())


def test_killed_ffmpeg_costs_no_frame(tmp_path: Path) -> None:
    with ServedRig(tmp_path, nodes=1) as rig:
        rig.add_agents()
        rig.start()
        wait_until(lambda: rig.status().session.segments >= 2, "closed segments")
        (process,) = rig.ffmpegs("cam0")
        os.kill(process, signal.SIGKILL)
        wait_until(lambda: rig.status().cameras[0].parts == 2, "a second part")
        stopped = rig.stop()
        assert stopped["complete"]
        assert stopped["cameras"][0]["missing"] == 0
        manifest = rig.folder(1).read_manifest()
        counted = [
            slot
            for entry in manifest.segments
            for slot in scan_segment(rig.folder(1).path / entry.path).slots.tolist()
            if not any(first <= slot <= last for first, last in entry.superseded)
        ]
        assert sorted(counted) == list(range(manifest.last_slot + 1))


def test_cut_connection_and_lost_frames_are_accounted(tmp_path: Path) -> None:
    lost = frozenset(range(7, 9)) | frozenset(range(20, 43))
    with ServedRig(tmp_path, nodes=1) as rig:
        agent = rig.add_agent(0, lost_slots=lost)
        rig.start()
        wait_until(lambda: rig.status().cameras[0].segments >= 3, "closed segments")
        agent.cameras["cam0"].cut()
        wait_until(lambda: rig.status().cameras[0].parts == 2, "a second part")
        stopped = rig.stop()
        assert stopped["complete"]
        entry = rig.folder(1).read_manifest().cameras[0]
        assert entry.missing == [(7, 8), (20, 42)]
        assert entry.parts == 2
        names = [SegmentName.parse(path.name) for path in rig.folder(1).segments("cam0")]
        assert names == sorted(names)


def test_camera_that_comes_late_is_taken_in_and_sealed_again(tmp_path: Path) -> None:
    with ServedRig(tmp_path, nodes=2, session={"drain_timeout_s": 1.0}) as rig:
        rig.add_agent(0)
        late = rig.add_agent(1)
        rig.start()
        late.holds_back = True
        late.cameras["cam1"].cut()
        stopped = rig.stop()
        assert not stopped["complete"]
        assert "cam1: video is missing" in stopped["reason"]
        rig.kill_server()  # a later process opens the sealed session again for who comes back
        rig.serve()
        late.holds_back = False
        manifest = rig.sealed(1)
        assert manifest.reason == ""
        assert [camera.missing for camera in manifest.cameras] == [[], []]
        wait_until(lambda: Sealed(session=1, complete=True) in late.received, "the node to be told")


def test_full_storage_refuses_video_and_says_so(tmp_path: Path) -> None:
    with ServedRig(tmp_path, nodes=1) as rig:
        agent = rig.add_agent(0)
        rig.start()
        text = rig.place.path.read_text()
        rig.kill_server()
        rig.place.path.write_text(text.replace("reserve_mb = 16", "reserve_mb = 100000000"))
        agent.cameras["cam0"].cut()
        advice = rig.status().advice
        assert any("the storage is full" in line and "make room" in line for line in advice)
        wait_until(lambda: Verdict.STORAGE in agent.verdicts, "the verdict")
        with pytest.raises(TuttiError, match="is recording"):
            rig.start()
        rig.kill_server()
        rig.place.path.write_text(text)
        stopped = rig.stop()
        assert stopped["complete"]
        assert stopped["cameras"][0]["missing"] == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root and the right to mount")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.root
@pytest.mark.parametrize("reserve_mb", [4, 0])
def test_disk_that_fills_up_keeps_what_is_recorded(
    tmp_path: Path, small_disk: Path, reserve_mb: int
) -> None:
    storage = {"storage": str(small_disk), "reserve_mb": reserve_mb}
    with ServedRig(tmp_path, nodes=1, server=storage) as rig:
        agent = rig.add_agent(0)
        rig.start()
        wait_until(lambda: rig.status().session.segments >= 2, "closed segments")
        ballast = small_disk / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb") as file:
            while shutil.disk_usage(small_disk).free > reserve_mb * MIB:
                file.write(b"\0" * 4096)
                file.flush()
        wait_until(lambda: Verdict.STORAGE in agent.verdicts, "the verdict")
        assert any("the storage is full" in line for line in rig.status().advice)
        held = rig.folder(1).segments("cam0")
        assert all(len(scan_segment(path).slots) for path in held[:2])
        ballast.unlink()
        wait_until(lambda: rig.status().cameras[0].connected, "the stream to come back")
        stopped = rig.stop()
        assert stopped["complete"]
        assert stopped["cameras"][0]["missing"] == 0


def hello_with_wrong_key(rig: ServedRig) -> Verdict:
    port = rig.place.config.server.stream_port
    with socket.create_connection(("127.0.0.1", port), 5) as stream:
        nonce = unpack_challenge(stream.recv(CHALLENGE_SIZE, socket.MSG_WAITALL))
        stream.sendall(pack_hello(Hello(rig.place.config.rig_id, 1, 0), nonce, b"\1" * 32))
        return unpack_welcome(stream.recv(WELCOME_SIZE, socket.MSG_WAITALL))[0]


def test_strangers_are_counted_and_change_nothing(tmp_path: Path) -> None:
    with ServedRig(tmp_path, nodes=1) as rig:
        rig.add_agents()
        rig.start()
        server = rig.place.config.server
        assert [hello_with_wrong_key(rig) for _ in range(3)] == [Verdict.FORGED] * 3
        silent = [socket.create_connection(("127.0.0.1", server.stream_port)) for _ in range(80)]
        for port in (server.stream_port, server.control_port):
            with socket.create_connection(("127.0.0.1", port)) as noise:
                noise.sendall(b"\xff" * 200)
        for connection in silent:
            connection.close()
        wait_until(lambda: rig.status().refused_peers.get("broke_off", 0) > 0, "the counts")
        status = rig.status()
        assert status.refused_peers["forged"] >= 3
        assert status.refused_peers["crowded"] >= 80 - MAX_WAITING
        assert status.refused_datagrams == {"stale": 2}  # what the agent says it refused
        stopped = rig.stop()
        assert stopped["complete"]
        assert stopped["cameras"] == [
            {"camera": "cam0", "frames": stopped["last_slot"] + 1, "missing": 0, "parts": 1}
        ]


def test_slots_of_every_file_are_the_manifests(tmp_path: Path) -> None:
    with ServedRig(tmp_path, nodes=1, cameras=2, session={"container": "nut"}) as rig:
        rig.add_agents()
        rig.start(frames=25)
        manifest = rig.sealed(1)
        for entry in manifest.segments:
            slots = scan_segment(rig.folder(1).path / entry.path).slots
            assert np.array_equal(slots, np.arange(entry.first_slot, entry.last_slot + 1))


def test_node_that_missed_the_sealing_is_told_when_it_registers(tmp_path: Path) -> None:
    with ServedRig(tmp_path, nodes=1) as rig:
        first = rig.add_agent(0)
        rig.start(frames=10)
        rig.sealed(1)
        first.end()
        rig.kill_server()
        rig.serve()
        late = FakeAgent(rig.place.nodes / "node0")
        plan = rig.folder(1).read_plan()
        start = Start(plan.session, plan.t0_ns, plan.rate, plan.gop, plan.segment_slots)
        late.start_message = start  # as if it still drained session 1
        late.start()
        rig.agents.append(late)
        wait_until(lambda: Sealed(session=1, complete=True) in late.received, "the word")
        (answer,) = {
            tuple(message.discard) for message in late.received if isinstance(message, Registered)
        }
        assert answer == (1,)
