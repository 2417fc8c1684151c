"""The way in for streams: verdicts without sockets, then both drivers on real ones."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capture_protocol import DatagramCodec, SessionFolder
from capture_protocol.handshake import (
    CHALLENGE_SIZE,
    HELLO_SIZE,
    WELCOME_SIZE,
    Hello,
    Verdict,
    pack_begin,
    pack_hello,
    unpack_challenge,
    unpack_welcome,
)
from control_server.manager.planning import make_plan
from control_server.manager.requests import StartRequest
from control_server.refusals import RefusalCounts
from control_server.rig.place import RigPlace, find_rig
from control_server.rig.setup import RigWish, set_up
from control_server.segmenter.admission import (
    Admission,
    Desk,
    RefusedError,
    is_delivered,
    shake_hands,
)
from control_server.segmenter.local_supervisor import drive
from control_server.segmenter.part_run import open_part
from control_server.session.counter import take_number
from control_server.session.notes import DrainedNote, NotesFolder, SessionNotes
from control_server.session.segment_scan import scan_segment
from control_server.session.sessions import make_folders
from control_server.session.stream_lock import acquire_stream, stream_lives
from tests.support.fake_agent import streaming_nut
from tests.support.served_rig import rig_config, wait_until


@pytest.fixture
def place(tmp_path: Path) -> RigPlace:
    """A rig with session 1 planned, nobody recording."""
    from control_server.rig.setup import config_text

    (tmp_path / "rig.toml").write_text(config_text(rig_config(1, 2, {})))
    place = set_up(tmp_path, RigWish())[0]
    place.runtime.mkdir()
    number = take_number(place.storage)
    codec = DatagramCodec(place.config.rig_id, place.rig_key)
    plan = make_plan(place.config, codec, number, StartRequest(), forced=False)
    folder = session_one(place)
    make_folders(folder, plan)
    folder.write_plan(plan)
    return place


def session_one(place: RigPlace) -> SessionFolder:
    return SessionFolder(place.storage / "000001")


def refusals(place: RigPlace) -> RefusalCounts:
    return RefusalCounts(place.runtime / "refused.json")


def knock(
    place: RigPlace, session: int = 1, camera: int = 0, port: int = 0, key: bytes | None = None
) -> tuple[Verdict, int, Admission | None]:
    """Play the agent against the flow; BEGIN says slot 7."""
    flow = shake_hands(Desk(place, port, refusals(place)))
    nonce = unpack_challenge(next(flow))
    assert next(flow) == HELLO_SIZE
    hello = Hello(place.config.rig_id, session, camera)
    verdict, resume = unpack_welcome(flow.send(pack_hello(hello, nonce, key or place.rig_key)))
    try:
        next(flow)
        flow.send(pack_begin(7))
    except StopIteration as done:
        return verdict, resume, done.value
    except RefusedError as refused:
        assert refused.verdict is verdict
        return verdict, resume, None
    raise AssertionError("the flow goes on after BEGIN")


def test_right_peer_is_admitted_with_its_resume_slot(place: RigPlace) -> None:
    NotesFolder(session_one(place)).write(SessionNotes(durable={"cam0": 30}))
    verdict, resume, admission = knock(place)
    assert (verdict, resume) == (Verdict.ACCEPTED, 30)
    assert (admission.camera, admission.resume_slot, admission.first_slot) == ("cam0", 30, 7)
    assert refusals(place).read() == {}
    os.close(admission.lock)


@pytest.mark.parametrize(
    ("peer", "verdict"),
    [
        ({"key": b"\1" * 32}, Verdict.FORGED),
        ({"session": 2}, Verdict.NO_SUCH_SESSION),
        ({"camera": 9, "port": 9}, Verdict.NO_SUCH_CAMERA),
        ({"camera": 1, "port": 0}, Verdict.NO_SUCH_CAMERA),
    ],
)
def test_wrong_peers_get_a_verdict_and_are_counted(
    place: RigPlace, peer: dict[str, object], verdict: Verdict
) -> None:
    assert knock(place, **peer)[::2] == (verdict, None)
    assert refusals(place).read() == {verdict.name.lower(): 1}


def test_second_connection_of_a_camera_is_busy_until_the_first_ends(place: RigPlace) -> None:
    admission = knock(place)[2]
    assert knock(place)[0] is Verdict.BUSY
    assert knock(place, camera=1, port=1)[0] is Verdict.ACCEPTED
    os.close(admission.lock)
    assert knock(place)[0] is Verdict.ACCEPTED


def test_full_storage_refuses(place: RigPlace) -> None:
    text = place.path.read_text()
    place.path.write_text(text.replace("reserve_mb = 16", "reserve_mb = 100000000"))
    assert knock(find_rig(place.path))[0] is Verdict.STORAGE


def test_delivered_camera_is_complete_and_holds_no_lock(place: RigPlace) -> None:
    notes = NotesFolder(session_one(place))
    notes.write(SessionNotes(last_slot=29, durable={"cam0": 30}))
    assert knock(place)[0] is Verdict.COMPLETE
    assert not stream_lives(notes.lock_path("cam0"))


@pytest.mark.parametrize(
    ("notes", "delivered"),
    [
        (SessionNotes(durable={"cam0": 5}), False),
        (SessionNotes(last_slot=5, durable={"cam0": 5}), False),
        (SessionNotes(last_slot=4, durable={"cam0": 5}), True),
        (SessionNotes(last_slot=9, drained={"cam0": DrainedNote(frames=0, last_slot=-1)}), False),
        (
            SessionNotes(
                last_slot=9,
                drained={"cam0": DrainedNote(frames=0, last_slot=-1)},
                final_logs=[("cam0", "capture"), ("cam0", "stream")],
            ),
            True,
        ),
    ],
)
def test_when_a_camera_is_delivered(notes: SessionNotes, delivered: bool) -> None:
    assert is_delivered(notes, "cam0") is delivered


def test_peer_that_leaves_after_welcome_frees_the_lock(place: RigPlace) -> None:
    flow = shake_hands(Desk(place, 0, refusals(place)))
    nonce = unpack_challenge(next(flow))
    next(flow)
    flow.send(pack_hello(Hello(place.config.rig_id, 1, 0), nonce, place.rig_key))
    next(flow)
    lock = NotesFolder(session_one(place)).lock_path("cam0")
    assert stream_lives(lock)
    flow.close()
    assert not stream_lives(lock)
    assert refusals(place).read() == {}


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(min_size=HELLO_SIZE, max_size=HELLO_SIZE))
def test_no_random_hello_is_admitted(place: RigPlace, hello: bytes) -> None:
    flow = shake_hands(Desk(place, 0, refusals(place)))
    next(flow)
    next(flow)
    assert unpack_welcome(flow.send(hello))[0] is Verdict.FORGED
    with pytest.raises(RefusedError):
        next(flow)


def test_parts_are_numbered_under_the_lock(place: RigPlace) -> None:
    for part in (1, 2, 3):
        admission = knock(place)[2]
        with open_part("ffmpeg", admission, "10.0.0.9:1") as run:
            assert f"000001_cam0_p{part:03}_s%06d.mkv" in run.arguments
            assert knock(place)[0] is Verdict.BUSY
    notes = NotesFolder(session_one(place)).parts("cam0")
    assert [(note.part, note.first_slot, note.peer) for note in notes] == [
        (part, 7, "10.0.0.9:1") for part in (1, 2, 3)
    ]


def test_lock_is_held_by_whoever_inherits_it(tmp_path: Path) -> None:
    path = tmp_path / "cam0.stream"
    lock = acquire_stream(path)
    child = subprocess.Popen(["sleep", "60"], pass_fds=(lock,))
    os.close(lock)
    assert acquire_stream(path) is None
    child.kill()
    child.wait()
    again = acquire_stream(path)
    assert again is not None
    os.close(again)


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\n\r\n"])
def test_stranger_that_breaks_off_is_counted(place: RigPlace, said: bytes) -> None:
    async def visit() -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            theirs.sendall(said)
            theirs.shutdown(socket.SHUT_WR)
            with pytest.raises(Exception, match="hung up"):
                await drive(ours, shake_hands(Desk(place, 0, refusals(place))))

    asyncio.run(visit())
    assert refusals(place).read() == {"broke_off": 1}


# --- the segmenter that systemd starts


@contextlib.contextmanager
def systemd_connection(place: RigPlace):  # type: ignore[no-untyped-def]
    """What Accept=yes does: a connection to camera 0's port is a process's stdin."""
    with socket.create_server(("127.0.0.1", place.config.server.stream_port)) as listener:
        agent = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
    with accepted, agent:
        process = subprocess.Popen(
            [sys.executable, "-m", "control_server.segmenter", "--rig", str(place.path)],
            stdin=accepted.fileno(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        accepted.close()
        try:
            yield agent, process
        finally:
            process.kill()
            process.communicate()


def read(agent: socket.socket, size: int) -> bytes:
    return agent.recv(size, socket.MSG_WAITALL)


def test_segmenter_becomes_ffmpeg(place: RigPlace) -> None:
    folder = session_one(place)
    rate = place.config.session.frame_rate
    with systemd_connection(place) as (agent, process):
        nonce = unpack_challenge(read(agent, CHALLENGE_SIZE))
        agent.sendall(pack_hello(Hello(place.config.rig_id, 1, 0), nonce, place.rig_key))
        assert unpack_welcome(read(agent, WELCOME_SIZE)) == (Verdict.ACCEPTED, 0)
        agent.sendall(pack_begin(0))
        with agent.makefile("wb") as file, streaming_nut(file, list(range(25)), rate, 10):
            wait_until(lambda: folder.segments("cam0"), "a segment")
            assert stream_lives(NotesFolder(folder).lock_path("cam0"))
            assert "ffmpeg" in Path(f"/proc/{process.pid}/cmdline").read_text()
        agent.shutdown(socket.SHUT_WR)
        assert process.wait(20) == 0
    held = [scan_segment(path).slots.tolist() for path in folder.segments("cam0")]
    assert held == [list(range(10)), list(range(10, 20)), list(range(20, 25))]
    assert not stream_lives(NotesFolder(folder).lock_path("cam0"))


def test_segmenter_refuses_a_forged_hello(place: RigPlace) -> None:
    with systemd_connection(place) as (agent, process):
        nonce = unpack_challenge(read(agent, CHALLENGE_SIZE))
        agent.sendall(pack_hello(Hello(place.config.rig_id, 1, 0), nonce, b"\1" * 32))
        assert unpack_welcome(read(agent, WELCOME_SIZE))[0] is Verdict.FORGED
        assert process.wait(20) == 0
        assert b"refused: forged" in process.stderr.read()
    assert refusals(place).read() == {"forged": 1}
    assert session_one(place).segments("cam0") == []


def test_segmenter_without_a_connection_says_what_starts_it(place: RigPlace) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "control_server.segmenter", "--rig", str(place.path)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "stdin is no stream connection" in done.stderr


def test_refusals_are_counted_by_many_at_once(tmp_path: Path) -> None:
    counts = RefusalCounts(tmp_path / "refused.json")
    threads = [
        threading.Thread(target=lambda: [counts.add("forged") for _ in range(25)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts.read() == {"forged": 100}
    counts.path.write_text("damaged")
    counts.add("forged")
    assert counts.read() == {"forged": 1}
