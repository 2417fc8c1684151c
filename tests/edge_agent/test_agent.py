"""The whole agent against a real peer: START to drained, as a server would see it."""

from capture_protocol import EventKind, FrameRecord, read_evidence
from capture_protocol.control import Ack, Heartbeat
from capture_protocol.events import PICTURE_STRUCT
from capture_protocol.frame import FRAME_SIZE
from capture_protocol.nal import Codec
from tests.support.agent_peer import AgentPeer, running_agent, spooled_files, wait_until


def test_a_session_of_known_length_ends_without_a_stop(tmp_path):
    peer = AgentPeer(tmp_path, ["cam0"])
    with running_agent(peer):
        peer.wait_registered()
        peer.wait_locked()
        peer.start(7, slots=45)
        peer.wait_drained(7)
        assert max(peer.ports["cam0"].units(7)) == 44
        peer.stop(7, 44)
        wait_until(lambda: [ack.of for ack in peer.of(Ack)] == ["start", "stop"], "both are taken")
        assert all(ack.accepted for ack in peer.of(Ack))
    peer.close()


def test_a_session_is_recorded_from_start_to_drained(tmp_path):
    peer = AgentPeer(tmp_path, ["cam0", "cam1"])
    with running_agent(peer) as agent:
        peer.wait_registered()
        peer.wait_locked()
        start = peer.start(7)
        wait_until(lambda: peer.of(Ack), "acknowledgement")
        assert (peer.of(Ack)[0].of, peer.of(Ack)[0].accepted) == ("start", True)
        peer.stop(7, 59)
        peer.wait_drained(7)
        peer.wait_handed_over(7)
        for camera, port in peer.ports.items():
            units = port.units(7)
            assert sorted(units) == list(range(60))
            assert [slot for slot, unit in sorted(units.items()) if unit.key] == [0, 15, 30, 45]
            frames = peer.log(7, camera, "capture", EventKind.FRAME)
            logged = [FrameRecord.unpack(event.payload[:FRAME_SIZE]) for event in frames]
            sent = [read_evidence(unit.data, Codec.H264) for _, unit in sorted(units.items())]
            assert sent == logged
            for event, record in zip(frames, logged, strict=True):
                (true_midpoint_ns,) = PICTURE_STRUCT.unpack_from(event.payload, FRAME_SIZE)
                assert abs(record.midpoint_ns - true_midpoint_ns) < 50_000
                assert record.slot_time_ns == start.grid.time_ns(record.slot)
            assert len(peer.log(7, camera, "stream", EventKind.ENCODED)) == 60
        peer.seal(7)
        wait_until(lambda: not spooled_files(tmp_path / "state/spool"), "empty spool")
        assert agent.terminate() == 0
        wait_until(lambda: not agent.children(), "end of all children")
        states = {beat.state for beat in peer.of(Heartbeat)}
        assert {0, 1, 2} <= states
    peer.close()
