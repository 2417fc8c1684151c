"""Things break in the middle of a session; each test ends with the audit of what was recorded."""

import json
import os
import signal
import socket
import subprocess
import time

from capture_protocol import DatagramCodec, EventKind, FrameRecord, SessionFolder, Stop
from capture_protocol.events import iter_events
from capture_protocol.frame import FRAME_SIZE
from control_server.audit import AuditResult
from tests.integration.conftest import MakeRig
from tests.support.rig import MANAGER, TestRig, audited, failed, wait_for

SLOTS = 90
CONTENT = {
    "sealed",
    "files",
    "account",
    "loss_places",
    "identity",
    "event_log",
    "container_time",
    "segments",
    "last_slot",
    "video",
    "decode",
    "optical_clock",
}
"""Checks that no fault may break: what was recorded is whole, true and accounted for."""


def record(rig: TestRig) -> SessionFolder:
    return rig.start("--frames", str(SLOTS))


def assert_nothing_lost(folder: SessionFolder) -> AuditResult:
    result = audited(folder)
    assert not failed(result) & (CONTENT | {"missing"}), result.model_dump_json(indent=1)
    for camera in result.cameras:
        assert camera.delivered == camera.slots == SLOTS
    return result


def missing_of(result: AuditResult, name: str) -> int:
    return next(camera.missing.total for camera in result.cameras if camera.name == name)


def test_tcp_cut_for_five_seconds_loses_no_frame(make_rig: MakeRig) -> None:
    rig = make_rig()
    cable = rig.lay_cable("node0")
    with rig:
        folder = record(rig)
        rig.wait_for_slot(folder, 20)
        cable.pull()
        pulled = time.monotonic()
        wait_for("five seconds", lambda: time.monotonic() > pulled + 5.0)
        cable.plug()
        rig.wait_sealed(folder)
    result = assert_nothing_lost(folder)
    assert {camera.name: camera.parts for camera in result.cameras} == {"cam0": 2, "cam1": 1}


def test_a_killed_agent_rejoins_on_the_same_grid(rig: TestRig) -> None:
    folder = rig.start("--frames", "240")
    rig.wait_for_slot(folder, 30)
    rig.agents["node0"].kill()
    rig.agents["node0"].wait()
    rig.start_agent("node0")
    rig.wait_sealed(folder)
    result = audited(folder)
    assert not failed(result) & CONTENT, result.model_dump_json(indent=1)
    lost = missing_of(result, "cam0")
    assert 0 < lost < 150, "it rejoined while the session ran, and not without a gap"
    manifest = folder.read_manifest()
    assert manifest is not None
    gaps = {camera.name: camera.missing for camera in manifest.cameras}
    assert sum(last - first + 1 for first, last in gaps["cam0"]) == lost
    assert missing_of(result, "cam1") == 0
    assert manifest.last_slot == 239


def test_a_killed_ffmpeg_loses_no_frame(rig: TestRig) -> None:
    folder = record(rig)
    rig.wait_for_slot(folder, 35)
    victim = wait_for("an FFmpeg runs", rig.ffmpegs)[0]
    os.kill(victim, signal.SIGKILL)
    rig.wait_sealed(folder)
    result = assert_nothing_lost(folder)
    assert sorted(camera.parts for camera in result.cameras) == [1, 2]


def test_an_agent_stopped_for_two_seconds_is_accounted_for(rig: TestRig) -> None:
    folder = record(rig)
    rig.wait_for_slot(folder, 20)
    rig.signal_agent("node0", signal.SIGSTOP)
    stopped = time.monotonic()
    wait_for("two seconds", lambda: time.monotonic() > stopped + 2.0)
    rig.signal_agent("node0", signal.SIGCONT)
    rig.wait_sealed(folder)
    result = audited(folder)
    assert not failed(result) & CONTENT, result.model_dump_json(indent=1)
    assert 15 <= missing_of(result, "cam0") <= 60
    assert missing_of(result, "cam1") == 0


def test_a_killed_manager_is_replaced_and_the_session_goes_on(rig: TestRig) -> None:
    folder = record(rig)
    rig.wait_for_slot(folder, 30)
    first = rig.manager_pid()
    os.kill(first, signal.SIGKILL)
    status = rig.status()
    assert status["pid"] != first
    assert status["session"]["session"] == folder.read_plan().session
    rig.wait_sealed(folder)
    assert_nothing_lost(folder)


def test_cameras_end_in_time_while_no_manager_runs(rig: TestRig) -> None:
    folder = record(rig)
    rig.wait_for_slot(folder, 30)
    os.kill(rig.manager_pid(), signal.SIGKILL)
    rig.wait_for_slot(folder, SLOTS + 60)
    rig.status()  # starts the manager again
    rig.wait_sealed(folder)
    assert_nothing_lost(folder)
    events = iter_events(folder.event_log("cam0", "capture").read_bytes())
    frames = [event.payload for event in events if event.kind is EventKind.FRAME]
    assert FrameRecord.unpack(frames[-1][:FRAME_SIZE]).slot == SLOTS - 1


def test_a_start_lost_on_the_way_is_repeated(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.edit_node("node1", r'^group = ".*"$', 'group = "239.84.85.99"')  # hears no START
    with rig:
        folder = record(rig)
        rig.wait_sealed(folder)
    result = assert_nothing_lost(folder)
    assert result.slots == SLOTS


def test_a_start_in_the_past_is_refused_and_takes_no_number(rig: TestRig) -> None:
    rig.wait_ready()
    done = rig.run("start", "--at", str(time.time() - 60), "--frames", "30")
    assert done.returncode == 2
    assert "past" in done.stderr
    assert rig.ask("sessions") == []
    folder = record(rig)
    rig.wait_sealed(folder)
    assert folder.read_plan().session == 1


def test_a_stop_for_another_session_changes_nothing(rig: TestRig) -> None:
    folder = record(rig)
    rig.wait_for_slot(folder, 10)
    codec = DatagramCodec(rig.place.config.rig_id, rig.place.rig_key)
    other = codec.encode(Stop(folder.read_plan().session + 1, 12), time.time_ns())
    send_to_group(rig, [other])
    refused = wait_for(
        "the agents count it",
        lambda: rig.status()["refused_datagrams"].get("wrong_session", 0) >= 2,
    )
    assert refused
    rig.wait_sealed(folder)
    assert_nothing_lost(folder)


def test_of_two_starts_at_once_one_records(rig: TestRig) -> None:
    rig.wait_ready()
    command = [MANAGER, "start", "--frames", "30", "--rig", str(rig.place.path), "--json"]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=60) for process in both]
    codes = [process.returncode for process in both]
    assert sorted(codes)[0] == 0
    assert sorted(codes)[1] != 0, outputs
    winner = json.loads(outputs[codes.index(0)][0])
    loser = outputs[1 - codes.index(0)]
    assert str(winner["session"]) in loser[1], "it says which session is in the way"
    folder = SessionFolder(rig.place.storage / f"{winner['session']:06}")
    rig.wait_sealed(folder)
    result = audited(folder)
    assert not failed(result) & CONTENT
    assert [entry["session"] for entry in rig.ask("sessions")] == [winner["session"]]


def send_to_group(rig: TestRig, datagrams: list[bytes]) -> None:
    network = rig.place.config.network
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        interface = socket.inet_aton(network.interface)
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, interface)
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
        for datagram in datagrams:
            sender.sendto(datagram, (network.group, network.port))
