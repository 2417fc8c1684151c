"""A worker's parts: encoder, streamer, and the worker as a whole on a prepared capture log."""

import contextlib
import os
import socket
import threading
import time
from fractions import Fraction

import av
import numpy as np
import pytest

from capture_protocol import FrameRecord, Grid, Start, optical_clock, read_evidence, read_misb_us
from capture_protocol.events import (
    ENCODED_STRUCT,
    EVENT_HEADER,
    LOST_STRUCT,
    PICTURE_STRUCT,
    STATE_STRUCT,
    AgentState,
    EventKind,
    LossPlace,
    iter_events,
)
from capture_protocol.frame import FRAME_SIZE
from capture_protocol.handshake import Verdict
from capture_protocol.nal import Codec
from capture_protocol.rig import NodeCamera
from edge_agent.eventlog import RingReader, RingWriter
from edge_agent.process import (
    Discard,
    Drained,
    DurableUpTo,
    SessionOrder,
    Shutdown,
    StreamStatus,
    StreamTarget,
    WorkerSetup,
    channel_pair,
)
from edge_agent.scene import Scene
from edge_agent.spool import Spool, SpoolHeader
from edge_agent.stream import connection as connection_module
from edge_agent.stream import streamer as streamer_module
from edge_agent.stream.encoder import Encoder, EncoderError
from edge_agent.stream.streamer import Streamer
from edge_agent.stream.worker import Worker
from tests.support.agent_peer import StreamPort, wait_until

RATE = Fraction(30)
RIG, KEY = bytes(16), bytes(32)
SESSION = 3
GOP = 10


def decode(units):
    decoder = av.CodecContext.create("h264", "r")
    for unit in units:
        yield from decoder.decode(av.Packet(unit))
    yield from decoder.decode(None)


def picture_of(number):
    scene = Scene(320, 240, 1)
    buffer = scene.blank()
    scene.render(buffer, number * 33_000_000)
    return buffer


def encoded(count, first=0):
    encoder = Encoder(320, 240, RATE, 1000)
    for slot in range(first, first + count):
        frame = av.VideoFrame.from_ndarray(picture_of(slot), format="yuv420p")
        yield slot, encoder.encode(frame, slot, key=slot % GOP == 0), slot % GOP == 0


def test_one_picture_in_is_one_access_unit_out_with_key_frames_where_asked():
    units = list(encoded(25))
    frames = list(decode(unit for _, unit, _ in units))
    assert len(frames) == 25
    assert [bool(frame.key_frame) for frame in frames] == [slot % GOP == 0 for slot in range(25)]
    for slot, frame in enumerate(frames):
        error = frame.to_ndarray(format="yuv420p").astype(float) - picture_of(slot)
        assert 10 * np.log10(255**2 / np.mean(error**2)) > 30


def test_decoding_can_start_at_every_key_frame():
    units = [unit for _, unit, _ in encoded(25)]
    assert len(list(decode(units[10:]))) == 15


def test_an_impossible_picture_is_an_error_of_the_encoder():
    encoder = Encoder(321, 241, RATE, 1000)
    with pytest.raises(EncoderError, match="slot 0"):
        encoder.encode(av.VideoFrame(321, 241, "yuv420p"), 0, key=True)


@pytest.fixture
def port():
    port = StreamPort(RIG, KEY)
    yield port
    port.close()


@pytest.fixture
def spool(tmp_path):
    return Spool.create(tmp_path / "spool", SpoolHeader(SESSION, 0, RATE, GOP, 320, 240))


@pytest.fixture
def make_streamer(spool, monkeypatch):
    monkeypatch.setattr(streamer_module, "_CONFIRM_S", 0.2)
    made = []

    def make(port_number, idle_s=0.3):
        drained = []
        target = StreamTarget("127.0.0.1", port_number, RIG, KEY, 0)
        streamer = Streamer(spool, target, idle_s, drained.append)
        streamer.start()
        made.append(streamer)
        return streamer, drained

    yield make
    for streamer in made:
        streamer.stop()
        streamer.join(5)


def put(spool, count):
    for slot, unit, key in encoded(count, spool.last_slot + 1):
        spool.append(slot, unit, key=key)


def slots(port):
    return sorted(port.units(SESSION))


def test_a_finished_spool_is_delivered_and_reported_once(port, spool, make_streamer):
    streamer, drained = make_streamer(port.port)
    put(spool, 25)
    spool.finish()
    wait_until(lambda: drained == [24], "drained")
    assert slots(port) == list(range(25))
    assert port.parts[0].closed
    assert streamer.is_drained
    assert [spool.read(spool.after(slot - 1)) for slot in range(25)] == [
        port.units(SESSION)[slot].data for slot in range(25)
    ]


def test_without_frames_the_connection_is_closed_and_a_new_one_opens_with_a_key_frame(
    port, spool, make_streamer
):
    make_streamer(port.port, idle_s=0.1)
    put(spool, 13)
    wait_until(lambda: port.parts and port.parts[0].closed, "idle close")
    assert slots(port) == list(range(13))
    put(spool, 4)
    wait_until(lambda: len(slots(port)) == 17, "the frames after the pause")
    assert [unit.slot for unit in port.parts[1].units][:4] == [10, 11, 12, 13]


def test_a_server_that_comes_back_gets_everything_it_has_not_kept(spool, make_streamer):
    first = StreamPort(RIG, KEY)
    streamer, drained = make_streamer(first.port)
    put(spool, 15)
    wait_until(lambda: len(first.units(SESSION)) == 15, "the first frames")
    number = first.port
    first.close()
    put(spool, 30)
    wait_until(lambda: streamer.problem, "noticed break")
    second = StreamPort(RIG, KEY, number)
    spool.finish()
    wait_until(lambda: drained, "drained")
    assert sorted(second.units(SESSION)) == list(range(45))
    second.close()


def test_a_complete_camera_needs_no_connection(port, spool, make_streamer):
    port.verdict = Verdict.COMPLETE
    put(spool, 12)
    spool.finish()
    streamer, drained = make_streamer(port.port)
    wait_until(lambda: drained == [11], "drained")
    assert port.parts == []
    assert streamer.wanted


def test_a_session_that_the_server_does_not_know_is_given_up_when_it_is_over(
    port, spool, make_streamer
):
    port.verdict = Verdict.NO_SUCH_SESSION
    put(spool, 12)
    streamer, _ = make_streamer(port.port)
    wait_until(lambda: port.refusals >= 2, "a second attempt while it runs")
    assert "no session 3" in streamer.problem
    spool.finish()
    streamer.join(5)
    assert not streamer.is_alive()
    assert slots(port) == []


def test_a_full_server_disk_is_named_and_waited_for(port, spool, make_streamer):
    port.verdict = Verdict.STORAGE
    put(spool, 12)
    streamer, drained = make_streamer(port.port)
    wait_until(lambda: "disk" in streamer.problem, "the problem")
    port.verdict = Verdict.ACCEPTED
    spool.finish()
    wait_until(lambda: drained, "drained")
    assert slots(port) == list(range(12))
    assert streamer.problem == ""


def test_a_segmenter_may_take_its_time_to_start(port, spool, make_streamer, monkeypatch):
    """systemd starts one for the connection: hanging up early would only start another."""
    monkeypatch.setattr(connection_module, "TIMEOUT_S", 0.5)
    port.greeting_delay_s = 1.0
    put(spool, 10)
    spool.finish()
    _, drained = make_streamer(port.port)
    wait_until(lambda: drained == [9], "the delivery")
    assert slots(port) == list(range(10))
    assert len(port.parts) == 1


def test_a_peer_that_is_no_segmenter_gets_nothing(spool, make_streamer):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        streamer, _ = make_streamer(listener.getsockname()[1])
        put(spool, 3)
        peer, _ = listener.accept()
        with peer:
            peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(40))
            wait_until(lambda: "not a segmenter" in streamer.problem, "the problem")
            with contextlib.suppress(ConnectionResetError):
                assert peer.recv(100) == b""


CAMERA = NodeCamera(
    name="cam0", width=320, height=240, bitrate_kbps=1000, index=0, stream_port=1, options={}
)
LINE_NS, ROWS, EXPOSURE_NS = 13_361, 1296, 4_000_000


class Bench:
    """A worker in this process, with a capture log that the test writes."""

    def __init__(self, folder, port, limit=10**8, orders=None):
        self.start = Start(SESSION, 1_700_000_000 * 10**9, RATE, GOP, 20)
        self.capture_log = RingWriter(folder / "cam0.capture.ring", 256)
        self.stream_path = folder / "cam0.stream.ring"
        self.spool_root = folder / "spool"
        self.setup = WorkerSetup(
            config=CAMERA,
            folder=folder,
            capture_log=folder / "cam0.capture.ring",
            stream_log=self.stream_path,
            spool_root=self.spool_root,
            spool_limit_bytes=limit,
            target=StreamTarget("127.0.0.1", port.port, RIG, KEY, 0),
            idle_close_s=0.3,
            orders=[SessionOrder(self.start)] if orders is None else orders,
        )
        self.wake = os.eventfd(0, os.EFD_NONBLOCK)
        self.reports = []
        self.worker = None

    def open(self):
        self.channel, theirs = channel_pair()
        self.worker = Worker(self.setup, theirs)

    def run(self):
        if self.worker is None:
            self.open()
        self.thread = threading.Thread(target=self.worker.run, args=(self.wake,), daemon=True)
        self.thread.start()

    def frame(self, slot, flags=64):
        t_ns = Grid(self.start.t0_ns, RATE).time_ns(slot)
        record = FrameRecord(
            version=1,
            lock=2,
            flags=flags,
            camera=0,
            session=SESSION,
            slot=slot,
            slot_time_ns=t_ns,
            rate_num=30,
            rate_den=1,
            release_ns=t_ns,
            frame_start_ns=t_ns - ROWS // 2 * LINE_NS + EXPOSURE_NS // 2 + 1234,
            exposure_ns=EXPOSURE_NS,
            line_time_ns=LINE_NS,
            rows=ROWS,
            sequence=slot,
            frame_duration_ns=33_333_333,
            gain_milli=1000,
            sensor_delay_ns=0,
            clock_offset_ns=0,
            clock_uncertainty_ns=100,
            stamp_uncertainty_ns=2000,
        )
        at = self.capture_log.begin(time.monotonic_ns(), SESSION, 0, EventKind.FRAME)
        start = at + EVENT_HEADER.size
        self.capture_log.buffer[start : start + FRAME_SIZE] = record.pack()
        PICTURE_STRUCT.pack_into(self.capture_log.buffer, start + FRAME_SIZE, record.midpoint_ns)
        self.capture_log.commit(at)
        os.eventfd_write(self.wake, 1)
        return record

    def state(self, state):
        self.capture_log.append(1, SESSION, 0, EventKind.STATE, STATE_STRUCT, state, 0)
        os.eventfd_write(self.wake, 1)

    def report(self, kind):
        while (message := self.channel.receive()) is not None:
            self.reports.append(message)
        found = [message for message in self.reports if isinstance(message, kind)]
        return found[-1] if found else None

    def log(self, kind):
        events = iter_events(RingReader(self.stream_path).read(10_000))
        return [event for event in events if event.kind is kind]

    def stop(self):
        self.channel.send(Shutdown())
        self.thread.join(10)
        assert not self.thread.is_alive()
        self.worker = None


def test_frames_become_units_with_their_evidence_and_their_pixels(tmp_path, port):
    bench = Bench(tmp_path, port)
    bench.run()
    bench.state(AgentState.CAPTURING)
    records = {slot: bench.frame(slot) for slot in (*range(13), *range(17, 24))}
    bench.state(AgentState.DRAINING)
    wait_until(lambda: bench.report(Drained), "drained")
    assert bench.report(Drained) == Drained("cam0", SESSION, 20, 23)
    units = port.units(SESSION)
    assert [slot for slot, unit in sorted(units.items()) if unit.key] == [0, 10, 20]
    pictures = decode(unit.data for _, unit in sorted(units.items()))
    for (slot, unit), picture in zip(sorted(units.items()), pictures, strict=True):
        record = records[slot]
        assert read_evidence(unit.data, Codec.H264) == record
        assert read_misb_us(unit.data, Codec.H264) == record.midpoint_ns // 1000
        for reading in optical_clock.read(picture.to_ndarray(format="yuv420p")[:240]):
            expected = record.midpoint_ns + (2 * reading.row - 240) * ROWS * LINE_NS // 480
            assert reading.instant_ns == expected
    done = [ENCODED_STRUCT.unpack_from(event.payload) for event in bench.log(EventKind.ENCODED)]
    assert [entry[0] for entry in done] == sorted(records)
    assert [entry[1] for entry in done] == [len(unit.data) for _, unit in sorted(units.items())]
    bench.channel.send(DurableUpTo(SESSION, 24))
    bench.channel.send(Discard(SESSION))
    spooled = bench.spool_root / f"{SESSION:06}" / "cam0"
    wait_until(lambda: not spooled.exists(), "empty spool")
    bench.stop()


def test_a_new_worker_goes_on_where_the_last_one_ended(tmp_path, port):
    bench = Bench(tmp_path, port)
    bench.run()
    for slot in range(5):
        bench.frame(slot)
    wait_until(lambda: len(port.units(SESSION)) == 5, "the first frames")
    bench.stop()
    for slot in range(5, 12):
        bench.frame(slot)
    bench.state(AgentState.DRAINING)
    bench.run()
    wait_until(lambda: bench.report(Drained), "drained")
    units = port.units(SESSION)
    assert sorted(units) == list(range(12))
    assert [slot for slot, unit in sorted(units.items()) if unit.key] == [0, 5, 10]
    assert len(list(decode(unit.data for _, unit in sorted(units.items())))) == 12
    bench.stop()


def test_a_session_that_is_over_is_delivered_after_a_restart(tmp_path, port):
    bench = Bench(tmp_path, port)
    for slot in range(7):
        bench.frame(slot)  # and the capture process was killed: no DRAINING
    bench.setup.orders[0] = SessionOrder(bench.start, running=False)
    bench.run()
    wait_until(lambda: bench.report(Drained), "drained")
    assert sorted(port.units(SESSION)) == list(range(7))
    bench.stop()


def test_a_full_spool_loses_frames_by_name_and_recovers_with_a_key_frame(tmp_path, port):
    port.verdict = Verdict.STORAGE
    bench = Bench(tmp_path, port, limit=12_000)
    bench.run()
    for slot in range(40):
        bench.frame(slot)
    wait_until(lambda: bench.log(EventKind.LOST), "lost frames")
    wait_until(
        lambda: (status := bench.report(StreamStatus)) and "spool is full" in status.problem,
        "the problem",
    )
    lost = [LOST_STRUCT.unpack_from(event.payload) for event in bench.log(EventKind.LOST)]
    assert {place for _, place in lost} == {LossPlace.ENCODER}
    kept = [ENCODED_STRUCT.unpack_from(e.payload)[0] for e in bench.log(EventKind.ENCODED)]
    wait_until(lambda: len(bench.log(EventKind.LOST)) + len(kept) == 40, "all accounted for")
    lost = [LOST_STRUCT.unpack_from(event.payload) for event in bench.log(EventKind.LOST)]
    assert sorted([slot for slot, _ in lost] + kept) == list(range(40))
    bench.stop()


def test_a_worker_that_was_overtaken_says_so_and_goes_on(tmp_path, port):
    bench = Bench(tmp_path, port)
    for slot in range(10):
        bench.frame(slot)
    bench.open()
    for slot in range(10, 300):
        bench.frame(slot)  # the ring holds 256
    bench.run()
    bench.state(AgentState.DRAINING)
    wait_until(lambda: bench.report(Drained), "drained")
    slots = sorted(port.units(SESSION))
    assert slots[-1] == 299
    assert 40 <= slots[0] <= 60
    assert port.units(SESSION)[slots[0]].key
    bench.stop()
