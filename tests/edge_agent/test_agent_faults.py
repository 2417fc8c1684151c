"""What an agent survives: cut connections, kills, hostile datagrams, commands at the wrong time."""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from capture_protocol import EventKind, FrameRecord
from capture_protocol.control import Ack, Drained, Heartbeat, Register, Registered
from capture_protocol.datagram import DatagramCodec, Start, Stop
from capture_protocol.events import LOST_STRUCT, RELEASE_STRUCT
from capture_protocol.frame import FRAME_SIZE
from tests.support.agent_peer import AgentPeer, running_agent, spooled_files, wait_until


@pytest.fixture
def peer(tmp_path):
    peer = AgentPeer(tmp_path, ["cam0", "cam1"])
    yield peer
    peer.close()


def acks(peer, of):
    return [(ack.session, ack.accepted) for ack in peer.of(Ack) if ack.of == of]


def received(peer, camera, session):
    return sorted(peer.ports[camera].units(session))


def wait_received(peer, session, count):
    for camera in peer.cameras:
        wait_until(
            lambda camera=camera: len(peer.ports[camera].units(session)) >= count,
            f"{count} frames of {camera}",
        )


def stop_soon(peer, start, slots=60):
    """STOP the session with a slot that is far enough away for a busy machine."""
    last = start.grid.nearest_slot(time.time_ns()) + slots
    peer.stop(start.session, last)
    return last


def worker_of(agent, camera):
    """Pid of the worker that holds a camera's stream log open for writing."""
    for pid in agent.children():
        for handle in Path(f"/proc/{pid}/fd").glob("*"):
            target = handle.resolve() if handle.exists() else handle
            if target.name == f"{camera}.stream.ring":
                return pid
    raise AssertionError(f"no worker of {camera}")


def test_cut_connections_and_killed_workers_lose_no_frame(peer):
    with running_agent(peer) as agent:
        peer.wait_locked()
        start = peer.start(1)
        wait_received(peer, 1, 10)
        os.kill(worker_of(agent, "cam1"), signal.SIGKILL)
        peer.ports["cam0"].cut()
        wait_until(lambda: len(peer.ports["cam0"].parts) == 2, "second part of cam0")
        wait_until(lambda: len(peer.ports["cam1"].parts) == 2, "second part of cam1")
        wait_received(peer, 1, 40)
        last = stop_soon(peer, start)
        peer.wait_drained(1)
        peer.wait_handed_over(1)
        for camera, port in peer.ports.items():
            assert received(peer, camera, 1) == list(range(last + 1))
            assert port.parts[1].units[0].key
            assert port.parts[1].units[0].slot == port.parts[1].first_slot
            assert not peer.log(1, camera, "stream", EventKind.LOST)


def test_a_killed_agent_rejoins_on_the_same_grid(peer):
    with running_agent(peer) as agent:
        peer.wait_registered()
        peer.wait_locked()
        start = peer.start(4)
        wait_received(peer, 4, 20)
        agent.kill()
        wait_until(lambda: not agent.children(), "end of the children")
    before = {camera: received(peer, camera, 4)[-1] for camera in peer.cameras}
    peer.registered = Registered(start=peer.start_datagram.hex())
    with running_agent(peer):
        peer.wait_registered(2)
        register = peer.of(Register)[-1]
        assert register.session == 4
        assert {spooled.camera for spooled in register.spooled} == set(peer.cameras)
        wait_until(
            lambda: all(received(peer, camera, 4)[-1] > before[camera] + 20 for camera in before),
            "frames after the restart",
        )
        last = stop_soon(peer, start)
        peer.wait_drained(4)
        peer.wait_handed_over(4)
    for camera in peer.cameras:
        slots = received(peer, camera, 4)
        released = [
            RELEASE_STRUCT.unpack_from(event.payload)[0]
            for event in peer.log(4, camera, "capture", EventKind.RELEASE)
        ]
        lost = [
            LOST_STRUCT.unpack_from(event.payload)[0]
            for event in peer.log(4, camera, "capture", EventKind.LOST)
        ]
        assert slots[-1] == last
        gap = sorted(set(range(last + 1)) - set(slots))
        unreleased = set(range(last + 1)) - set(released)
        assert set(gap) - set(lost) - unreleased <= set(gap[:8]), "in flight when it was killed"
        frames = peer.log(4, camera, "capture", EventKind.FRAME)
        for event in frames:
            record = FrameRecord.unpack(event.payload[:FRAME_SIZE])
            assert record.slot_time_ns == start.grid.time_ns(record.slot)


def hostile_datagrams(peer, count):
    """Random, mutated, replayed, foreign and outdated datagrams, seeded."""
    rng = random.Random(5)
    now_ns = time.time_ns()
    valid = peer.codec.encode(Start(9, now_ns, peer.ports["cam0"].rate, 15, 30), now_ns)
    other_rig = DatagramCodec(bytes(16), peer.codec.key)
    other_key = DatagramCodec(peer.rig_id, bytes(32))
    version = bytearray(valid)
    version[4] = 99
    makers = [
        lambda: rng.randbytes(rng.randrange(0, 200)),
        lambda: mutated(valid, rng),
        lambda: peer.start_datagram,
        lambda: other_rig.encode(Stop(1, 5), now_ns),
        lambda: other_key.encode(Stop(1, 5), now_ns),
        lambda: peer.codec.encode(Stop(1, 5), now_ns - 10**11),
        lambda: peer.codec.encode(Stop(77, 5), now_ns),
        lambda: valid,
        lambda: bytes(version),
    ]
    for number in range(count):
        yield makers[number % len(makers)]()


def mutated(data, rng):
    flipped = bytearray(data)
    flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
    return bytes(flipped)


def test_hostile_datagrams_and_wrong_commands_have_no_effect(peer):
    with running_agent(peer):
        peer.wait_registered()
        peer.wait_locked()
        start = peer.start(1)
        wait_received(peer, 1, 5)
        for number, data in enumerate(hostile_datagrams(peer, 9_000)):
            peer.multicast(data)
            if number % 300 == 0:
                time.sleep(0.01)  # a flood of 30,000 a second, not one that the kernel drops
        peer.multicast(peer.start_datagram)
        wait_until(lambda: acks(peer, "start").count((1, True)) >= 2, "repeated acknowledgement")
        assert (9, False) in acks(peer, "start"), "another START is refused with its reason"
        last = stop_soon(peer, start)
        peer.wait_drained(1)
        wait_until(lambda: peer.beat.state == 0, "idle")
        peer.multicast(peer.start_datagram)
        wait_until(lambda: peer.beat.refused.get("replayed"), "refused replay")
        refused = peer.beat.refused
        assert {"malformed", "version", "other_rig", "forged", "stale", "wrong_session"} <= set(
            refused
        )
        assert sum(refused.values()) >= 4_000, "most get through; the kernel may drop some"
        for camera in peer.cameras:
            assert received(peer, camera, 1) == list(range(last + 1))


def test_late_start_joins_on_the_right_slot_and_sigterm_keeps_what_is_not_durable(peer):
    with running_agent(peer) as agent:
        peer.wait_registered()
        start = peer.start(3, delay_s=-2.0)
        wait_received(peer, 3, 10)
        first = received(peer, "cam0", 3)[0]
        assert 58 <= first <= 200, "as soon as the capture process is up, but not from 0"
        assert agent.terminate() == 0
        slots = received(peer, "cam0", 3)
        assert slots == sorted(set(slots)), (
            "in order, none twice; a camera may still pull into lock"
        )
    assert list((peer.folder / "state/spool/000003").rglob("*.units"))
    assert not peer.final, "a session that may be rejoined is not final"
    peer.registered = Registered()  # the server has ended the session meanwhile
    with running_agent(peer) as agent:
        peer.wait_registered(2)
        wait_until(lambda: peer.beat.session == 0 and len(peer.of(Heartbeat)) > 2, "session ended")
        peer.wait_drained(3)
        peer.wait_handed_over(3)
        peer.seal(3)
        wait_until(lambda: not spooled_files(peer.folder / "state/spool"), "empty spool")
    records = peer.log(3, "cam0", "capture", EventKind.FRAME)
    for event in records:
        record = FrameRecord.unpack(event.payload[:FRAME_SIZE])
        assert record.slot_time_ns == start.grid.time_ns(record.slot)


def test_what_the_server_lost_at_the_end_is_sent_again(peer):
    with running_agent(peer):
        peer.wait_registered()
        start = peer.start(2)
        wait_received(peer, 2, 5)
        last = stop_soon(peer, start)
        peer.wait_drained(2)
        kept = last - 9
        # A camera that a busy machine kept still for a while has had more than one part.
        before = {camera: len(port.parts) for camera, port in peer.ports.items()}
        for camera, port in peer.ports.items():
            port.forget_from = kept
            peer.durable(2, camera, kept)
        for camera, port in peer.ports.items():
            new = before[camera]
            wait_until(
                lambda port=port, n=new: [p.closed for p in port.parts[n:]] == [True], "resend"
            )
            slots = [unit.slot for unit in port.parts[new].units]
            assert slots == list(range(kept // start.gop * start.gop, last + 1))
            peer.durable(2, camera, last + 1)


def test_an_impossible_rate_is_refused_with_the_one_that_works(peer):
    with running_agent(peer):
        peer.wait_registered()
        peer.start(5, rate=peer.ports["cam0"].rate * 4)
        wait_until(lambda: peer.of(Ack), "answer")
        ack = peer.of(Ack)[0]
        assert not ack.accepted
        assert "55.7" in ack.reason or "no room" in ack.reason
        wait_until(lambda: peer.beat.state == 0, "idle again")
        peer.start(6)
        wait_until(lambda: (6, True) in acks(peer, "start"), "the next session is taken")


def test_a_stopped_node_skips_what_it_slept_through(peer):
    with running_agent(peer) as agent:
        peer.wait_registered()
        peer.wait_locked()
        start = peer.start(1)
        wait_received(peer, 1, 10)
        pids = [agent.pid, *agent.children()]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(1.0)
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        last = stop_soon(peer, start)
        peer.wait_drained(1)
        peer.wait_handed_over(1)
    for camera in peer.cameras:
        slots = received(peer, camera, 1)
        gap = sorted(set(range(last + 1)) - set(slots))
        assert 10 <= len(gap) <= 40, "a second, less what was queued"
        releases = [
            RELEASE_STRUCT.unpack_from(event.payload)
            for event in peer.log(1, camera, "capture", EventKind.RELEASE)
        ]
        assert all(released - target < 17_000_000 for _, target, released, _ in releases)


def test_a_dead_capture_process_ends_the_agent(peer):
    with running_agent(peer) as agent:
        peer.wait_registered()
        wait_until(lambda: peer.of(Heartbeat) and peer.beat.release_mode, "capture process")
        (capture,) = [
            pid
            for pid in agent.children()
            if {"cam0.capture.ring", "cam1.capture.ring"}
            <= {handle.resolve().name for handle in Path(f"/proc/{pid}/fd").glob("*")}
        ]
        os.kill(capture, signal.SIGKILL)
        assert agent.process.wait(10) == 3
        wait_until(lambda: not agent.children(), "end of the children")
        assert "capture process has died" in agent.log_path.read_text()
        assert not peer.of(Drained)
