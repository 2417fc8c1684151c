"""An agent reduced to its protocol: real sockets, real H.264 with real evidence, no cameras.

It answers START and STOP, makes a frame per slot in real time, streams it from a spool in memory,
and hands over event logs. What an agent may suffer is a knob.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import av
import numpy as np
import zmq
from av.video.frame import PictureType

from capture_protocol import (
    AgentState,
    ClockSource,
    Codec,
    DatagramCodec,
    DatagramError,
    Event,
    EventKind,
    Start,
    evidence_nal,
    load_node,
    splice,
)
from capture_protocol.control import (
    Ack,
    CameraHealth,
    ClockHealth,
    Drained,
    Durable,
    EventLog,
    EventLogStored,
    Heartbeat,
    Register,
    Registered,
    Sealed,
    Spooled,
    pack_message,
    unpack_server_message,
)
from capture_protocol.frame import FrameFlag, FrameRecord, LockState
from capture_protocol.handshake import (
    CHALLENGE_SIZE,
    WELCOME_SIZE,
    Hello,
    Verdict,
    pack_begin,
    pack_hello,
    unpack_challenge,
    unpack_welcome,
)
from capture_protocol.keys import read_curve_key, read_rig_key
from capture_protocol.rig import NodeCamera

POLL_S = 0.01
CONFIRM_S = 2.0
"""After everything was sent, the server may take this long to find it durable."""


class FakeCamera(threading.Thread):
    """One camera of one session: makes frames on the grid, delivers them until all is durable."""

    def __init__(self, agent: "FakeAgent", camera: NodeCamera, start: Start) -> None:
        super().__init__(daemon=True)
        self.agent, self.camera, self.start_message = agent, camera, start
        self.spool: list[tuple[int, bytes, bool]] = []
        self.last_slot: int | None = None
        self.durable = 0
        self.connections = 0
        self.stream: socket.socket | None = None
        self.ended = threading.Event()
        self.first_slot = start.grid.next_slot(time.time_ns())
        self._encoder = _encoder(start.rate)

    def run(self) -> None:
        while not self.ended.is_set() and not self._is_delivered():
            self._make_frames()
            if self._has_work():
                try:
                    self._deliver()
                except (OSError, av.FFmpegError):
                    time.sleep(0.05)
            time.sleep(POLL_S)

    def _has_work(self) -> bool:
        return bool(self.spool) and self.durable <= self.spool[-1][0] and not self.agent.holds_back

    def cut(self) -> None:
        """Break the connection as a pulled cable would, noticed by both sides."""
        if self.stream is not None:
            with contextlib.suppress(OSError):  # closed already
                self.stream.shutdown(socket.SHUT_RDWR)

    def _is_finished(self) -> bool:
        return self.last_slot is not None and self._next_slot() > self.last_slot

    def _is_delivered(self) -> bool:
        return self._is_finished() and (not self.spool or self.durable > self.spool[-1][0])

    def _next_slot(self) -> int:
        return self.spool[-1][0] + 1 if self.spool else self.first_slot

    def _make_frames(self) -> None:
        grid, last = self.start_message.grid, self.last_slot
        slot = self._next_slot()
        while grid.time_ns(slot) <= time.time_ns() and (last is None or slot <= last):
            if slot not in self.agent.lost_slots:
                key = not self.spool or slot // self.start_message.gop != (
                    self.spool[-1][0] // self.start_message.gop
                )
                self.spool.append((slot, self._encode(slot, key), key))
            slot += 1

    def _encode(self, slot: int, key: bool) -> bytes:
        return _access_unit(self._encoder, self.start_message, self.camera.index, slot, key)

    def _deliver(self) -> None:
        agent, session = self.agent, self.start_message.session
        peer = ("127.0.0.1", self.camera.stream_port)
        with socket.create_connection(peer, 5) as stream:
            nonce = unpack_challenge(_read(stream, CHALLENGE_SIZE))
            hello = Hello(bytes.fromhex(agent.config.rig_id), session, self.camera.index)
            stream.sendall(pack_hello(hello, nonce, agent.rig_key))
            verdict, resume = unpack_welcome(_read(stream, WELCOME_SIZE))
            agent.verdicts.append(verdict)
            if verdict is Verdict.COMPLETE:
                self.durable = self.start_message.session and 2**63
            if verdict is not Verdict.ACCEPTED:
                raise ConnectionError(verdict.name)
            self.connections += 1
            self.stream = stream
            self._pump(stream, resume)

    def _pump(self, stream: socket.socket, resume: int) -> None:
        keys = [at for at, (slot, _, key) in enumerate(self.spool) if key and slot <= resume]
        at = keys[-1] if keys else 0
        stream.sendall(pack_begin(self.spool[at][0]))
        rate = self.start_message.rate
        with open_nut(stream.sendall, rate) as (container, track):
            while not (self._is_finished() and at == len(self.spool)) and not self.ended.is_set():
                self._make_frames()
                for slot, unit, key in self.spool[at:]:
                    container.mux_one(_packet(track, rate, slot, unit, key))
                    at += 1
                time.sleep(POLL_S)
        stream.shutdown(socket.SHUT_WR)
        while stream.recv(1024):
            pass
        confirmed = time.monotonic() + CONFIRM_S
        while not self._is_delivered() and time.monotonic() < confirmed:
            time.sleep(POLL_S)


class FakeAgent(threading.Thread):
    """One node: registers, heartbeats, obeys START and STOP."""

    def __init__(
        self,
        bundle: Path,
        *,
        hears_udp: bool = True,
        refuses: str = "",
        lost_slots: frozenset[int] = frozenset(),
        clock_problem: str = "",
        rig_key: bytes | None = None,
    ) -> None:
        super().__init__(daemon=True)
        self.config = load_node(bundle / "node.toml")
        self.rig_key = rig_key or read_rig_key(bundle / "rig.key")
        self.hears_udp, self.refuses, self.lost_slots = hears_udp, refuses, lost_slots
        self.clock_problem = clock_problem
        self.holds_back = False
        """Frames stay in the spool while this is set."""
        self.cameras: dict[str, FakeCamera] = {}
        self.verdicts: list[Verdict] = []
        self.received: list[object] = []
        self.starts: list[bytes] = []
        self.start_message: Start | None = None
        self.ending = threading.Event()
        self._logs_sent = self._drained = False
        self._kept: list[Spooled] = []
        self._context = zmq.Context()
        self._dealer = self._context.socket(zmq.DEALER)
        self._dealer.identity = self.config.name.encode()
        self._dealer.curve_serverkey = read_curve_key(bundle / "server.public").encode()
        self._dealer.curve_publickey = read_curve_key(bundle / "node.public").encode()
        self._dealer.curve_secretkey = read_curve_key(bundle / "node.secret").encode()
        self._dealer.linger = 0
        self._dealer.reconnect_ivl = 50
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", 0))
        self._udp.setblocking(False)

    @property
    def state(self) -> AgentState:
        if self.start_message is None:
            return AgentState.IDLE
        finished = all(camera._is_finished() for camera in self.cameras.values())
        return AgentState.DRAINING if finished else AgentState.CAPTURING

    def run(self) -> None:
        endpoint = f"tcp://{self.config.server}:{self.config.control_port}"
        self._dealer.connect(endpoint)
        poller = zmq.Poller()
        poller.register(self._dealer, zmq.POLLIN)
        poller.register(self._udp, zmq.POLLIN)
        beat = 0.0
        while not self.ending.is_set():
            if time.monotonic() > beat:
                beat = time.monotonic() + 0.25
                self._beat()
            events = dict(poller.poll(20))
            if self._dealer in events:
                self._take(unpack_server_message(self._dealer.recv_multipart()[0]))
            if self._udp.fileno() in events:
                datagram = self._udp.recv(1024)
                if self.hears_udp:
                    self._obey(datagram, time.time_ns())
            self._hand_over()
        self._dealer.close()
        self._udp.close()
        self._context.term()

    def end(self) -> None:
        """End the agent; its spool is lost, as is everything in memory."""
        for camera in self.cameras.values():
            camera.ended.set()
            camera.cut()
        self.ending.set()
        self.join(5)

    def _send(self, message: object, records: bytes | None = None) -> None:
        frames = [pack_message(message)] + ([] if records is None else [records])
        self._dealer.send_multipart(frames)

    def _beat(self) -> None:
        """A heartbeat; a registration before it, since the server may be a new one."""
        session = self.start_message.session if self.start_message else 0
        host, port = self._udp.getsockname()
        self._send(
            Register(
                node=self.config.name,
                software="fake",
                cameras=[camera.name for camera in self.config.camera],
                state=self.state,
                session=session,
                datagram_host=host,
                datagram_port=port,
                spooled=self._kept,
            )
        )
        health = [
            CameraHealth(camera=camera.name, lock=LockState.LOCKED, phase_error_ns=100 * index)
            for index, camera in enumerate(self.config.camera)
        ]
        clock = ClockHealth(
            source=ClockSource.SHARED, uncertainty_ns=1000, problem=self.clock_problem
        )
        self._send(
            Heartbeat(
                node=self.config.name,
                state=self.state,
                session=session,
                clock=clock,
                cameras=health,
                refused={"stale": 2},
            )
        )

    def _obey(self, datagram: bytes, now_ns: int | None) -> None:
        codec = DatagramCodec(bytes.fromhex(self.config.rig_id), self.rig_key)
        try:
            message = codec.decode(datagram, now_ns)
        except DatagramError:
            return
        if isinstance(message, Start):
            self.starts.append(datagram)
            self._start(message)
        else:
            for camera in self.cameras.values():
                camera.last_slot = message.last_slot
            self._ack("stop", message.session)

    def _start(self, start: Start) -> None:
        self._ack("start", start.session)
        if self.refuses or (self.start_message and self.start_message.session >= start.session):
            return
        self.start_message = start
        self._logs_sent = self._drained = False
        self.cameras = {
            camera.name: FakeCamera(self, camera, start) for camera in self.config.camera
        }
        for camera in self.cameras.values():
            camera.start()

    def _ack(self, of: str, session: int) -> None:
        accepted = not self.refuses
        self._send(
            Ack(
                node=self.config.name, of=of, session=session, accepted=accepted,
                reason=self.refuses,
            )
        )  # fmt: skip

    def _take(self, message: object) -> None:
        self.received.append(message)
        if isinstance(message, Registered):
            for datagram in (message.start, message.stop):
                if datagram:
                    self._obey(bytes.fromhex(datagram), None)
        elif isinstance(message, Durable) and message.camera in self.cameras:
            camera = self.cameras[message.camera]
            camera.durable = max(camera.durable, message.next_slot)
        elif isinstance(message, Sealed) and self.start_message is not None:
            self.start_message, self.cameras = None, {}

    def _hand_over(self) -> None:
        if self.start_message is None or self._drained:
            return
        if all(camera._is_delivered() for camera in self.cameras.values()):
            self._drained = True
            for camera in self.cameras.values():
                last = camera.spool[-1][0] if camera.spool else -1
                self._send(
                    Drained(
                        node=self.config.name,
                        camera=camera.camera.name,
                        session=self.start_message.session,
                        frames=len(camera.spool),
                        last_slot=last,
                    )
                )
                for stage in ("capture", "stream"):
                    self.send_log(camera.camera, stage, range(1, 6), final=True)

    def send_log(self, camera: NodeCamera, stage: str, numbers: range, final: bool) -> None:
        """Hand over a batch of (empty) records."""
        session = self.start_message.session if self.start_message else 1
        records = b"".join(
            Event(number, number, session, camera.index, EventKind.STATE, b"\1\0").pack()
            for number in numbers
        )
        self._send(
            EventLog(
                node=self.config.name,
                camera=camera.name,
                stage=stage,
                session=session,
                first_number=numbers.start,
                final=final,
            ),
            records,
        )

    def stored(self) -> list[EventLogStored]:
        return [message for message in self.received if isinstance(message, EventLogStored)]


_NUT_OPTIONS = {"flush_packets": "1", "write_index": "0"}


class _Writer:
    def __init__(self, write_all: Callable[[bytes], object]) -> None:
        self._write_all = write_all

    def write(self, data: bytes) -> int:
        self._write_all(data)
        return len(data)


@contextlib.contextmanager
def open_nut(write_all: Callable[[bytes], object], rate: Fraction) -> Iterator[tuple[Any, Any]]:
    """A NUT stream of 64x48 H.264 and its track; time base is one slot."""
    writer = _Writer(write_all)
    with av.open(writer, "w", format="nut", options=_NUT_OPTIONS) as container:
        track = container.add_stream("libx264", rate=rate)
        track.width, track.height, track.pix_fmt = 64, 48, "yuv420p"
        track.time_base = 1 / rate
        yield container, track


def _packet(track: Any, rate: Fraction, slot: int, unit: bytes, key: bool) -> av.Packet:
    packet = av.Packet(unit)
    packet.stream, packet.time_base = track, 1 / rate
    packet.pts = packet.dts = slot
    packet.is_keyframe = key
    return packet


@contextlib.contextmanager
def streaming_nut(file: IO[bytes], slots: list[int], rate: Fraction, gop: int) -> Iterator[None]:
    """Write these slots as an agent streams them; the stream ends with the block."""
    start, encoder = Start(7, 10**18, rate, gop, gop), _encoder(rate)

    def write_all(data: bytes) -> None:
        with contextlib.suppress(BrokenPipeError):  # the reader may be killed on purpose
            file.write(data)
            file.flush()

    with open_nut(write_all, rate) as (container, track):
        group = -1
        for slot in slots:
            key, group = slot // gop != group, slot // gop
            unit = _access_unit(encoder, start, 0, slot, key)
            container.mux_one(_packet(track, rate, slot, unit, key))
        yield


def _access_unit(
    encoder: av.CodecContext, start: Start, camera: int, slot: int, key: bool
) -> bytes:
    picture = np.full((48 * 3 // 2, 64), slot % 200 + 20, np.uint8)
    frame = av.VideoFrame.from_ndarray(picture, "yuv420p")
    frame.pts, frame.pict_type = slot, PictureType.I if key else PictureType.NONE
    (packet,) = encoder.encode(frame)
    record = _record(start, camera, slot)
    nal = evidence_nal(record.pack(), record.midpoint_ns, locked=True, codec=Codec.H264)
    return splice(bytes(packet), nal, Codec.H264)


def _encoder(rate: Fraction) -> av.CodecContext:
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 64, 48, "yuv420p"
    encoder.time_base, encoder.framerate = 1 / rate, rate
    encoder.options = {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "forced-idr": "1",
        "x264-params": "keyint=infinite:scenecut=0:repeat-headers=1",
    }
    return encoder


def _record(start: Start, camera: int, slot: int) -> FrameRecord:
    at_ns = start.grid.time_ns(slot)
    return FrameRecord(
        version=1,
        lock=LockState.LOCKED,
        flags=FrameFlag.SIMULATED,
        camera=camera,
        session=start.session,
        slot=slot,
        slot_time_ns=at_ns,
        rate_num=start.rate.numerator,
        rate_den=start.rate.denominator,
        release_ns=at_ns,
        frame_start_ns=at_ns,
        exposure_ns=1_000_000,
        line_time_ns=0,
        rows=48,
        sequence=slot,
        frame_duration_ns=0,
        gain_milli=0,
        sensor_delay_ns=0,
        clock_offset_ns=0,
        clock_uncertainty_ns=1000,
        stamp_uncertainty_ns=1000,
    )


def _read(stream: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = stream.recv(size - len(data))
        if not more:
            raise ConnectionError("closed")
        data += more
    return data
