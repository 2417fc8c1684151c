"""The worker's loop: capture log in, spool and stream log out, reports to the agent."""

import os
import select
import signal
import socket
import struct
import time

from capture_protocol.errors import TuttiError
from capture_protocol.events import (
    ENCODED_STRUCT,
    LOST_STRUCT,
    PICTURE_STRUCT,
    STATE_STRUCT,
    AgentState,
    Event,
    EventKind,
    LossPlace,
    unpack_event,
)
from capture_protocol.frame import FRAME_SIZE, FrameRecord
from edge_agent.camera import CameraError
from edge_agent.eventlog import Overtaken, RingReader, RingWriter, session_numbers
from edge_agent.process import (
    Channel,
    Discard,
    Drained,
    DurableUpTo,
    Problem,
    SessionOrder,
    Shutdown,
    StreamStatus,
    WorkerSetup,
    die_with_parent,
)
from edge_agent.spool import Leftovers, session_folder
from edge_agent.stream.encoder import EncoderError
from edge_agent.stream.pictures import Pictures, open_pictures
from edge_agent.stream.session import SessionStream, open_spool
from edge_agent.stream.streamer import Streamer

_STATUS_S = 0.5
_STREAMER_END_S = 0.5
_BATCH = 64  # events between two looks at the agent's orders
_MAX_U32 = 0xFFFFFFFF


def worker_main(setup: WorkerSetup, end: socket.socket, handles: list[int]) -> None:
    """Run until told to shut down, or until the agent is gone.

    Args:
        setup: see there.
        end: this side of the channel to the agent.
        handles: the eventfd that the capture process signals, and the memfd of the camera's
            pictures if it has one.
    """
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the agent ends us in good order
    channel = Channel(end)
    try:
        worker = Worker(setup, channel, *handles[1:])
    except (TuttiError, OSError) as error:
        channel.send(Problem(str(error), getattr(error, "hint", ""), setup.config.name))
        return
    worker.run(handles[0])


class Worker:
    """One camera's worker."""

    def __init__(self, setup: WorkerSetup, channel: Channel, buffers: int | None = None) -> None:
        self._setup = setup
        self._camera = setup.config.name
        self._channel = channel
        self._pictures: Pictures = open_pictures(setup.config, setup.folder, buffers)
        self._log = RingWriter(setup.stream_log)
        self._sessions: dict[int, SessionStream] = {}
        self._ended: list[int] = []
        self._leftovers = Leftovers(setup.spool_root, self._camera)
        self._problem = ""
        self._stopping = False
        self._next_status = 0.0
        for order in setup.orders:
            self._expect(order)
        self._leftover_bytes = self._leftovers.total_bytes(self._sessions)
        self._reader = RingReader(setup.capture_log, self._first_number())

    def run(self, wake: int) -> None:
        """Follow the capture log until told to stop."""
        poll = select.poll()
        poll.register(wake, select.POLLIN)
        poll.register(self._channel.fileno(), select.POLLIN)
        while not self._stopping:
            busy = self._follow()
            if not busy:
                self._end_past_sessions()
            self._report()
            for ready, _ in poll.poll(0 if busy else int(_STATUS_S * 1000)):
                if ready == wake:
                    os.eventfd_read(wake)
            self._obey()
        for stream in self._sessions.values():
            stream.streamer.stop()
        for stream in self._sessions.values():
            stream.streamer.join(_STREAMER_END_S)
        self._log.close()

    def _first_number(self) -> int:
        """The first capture event that may still have to be encoded."""
        held = session_numbers(self._setup.capture_log)
        numbers = [held[session][0] for session in self._sessions if session in held]
        newest = max((last for _, last in held.values()), default=0)
        return min(numbers, default=newest + 1)

    def _follow(self) -> bool:
        """Take a batch of capture events; True if there may be more."""
        for _ in range(_BATCH):
            try:
                record = self._reader.read_one()
            except Overtaken as lost:
                self._problem = f"the encoder is too slow: {lost}"
                continue
            if record is None:
                return False
            event = unpack_event(record)
            if event is not None:
                self._take(event)
        return True

    def _take(self, event: Event) -> None:
        if event.session not in self._sessions:
            self._obey()
        stream = self._sessions.get(event.session)
        if stream is None:
            return
        if event.kind is EventKind.FRAME:
            self._take_frame(event, stream)
        elif event.kind is EventKind.STATE:
            state, _ = STATE_STRUCT.unpack_from(event.payload)
            if state == AgentState.DRAINING:
                self._finish(stream)
            else:
                stream.resume()

    def _take_frame(self, event: Event, stream: SessionStream) -> None:
        packed = event.payload[:FRAME_SIZE]
        record = FrameRecord.unpack(packed)
        if record.slot <= stream.spool.last_slot:
            return  # encoded before this worker was started
        (shown,) = PICTURE_STRUCT.unpack_from(event.payload, FRAME_SIZE)
        begun_ns = time.monotonic_ns()
        try:
            self._require_space()
            unit = stream.encode(record, packed, self._pictures, shown)
            key = stream.store(record.slot, unit)
        except (EncoderError, CameraError, OSError) as error:
            self._lose(stream, record.slot, str(error))
            return
        done_ns = time.monotonic_ns()
        encode_ns = min(done_ns - begun_ns, _MAX_U32)
        values = (record.slot, len(unit), key, time.time_ns(), encode_ns)
        self._write(done_ns, stream.session, EventKind.ENCODED, ENCODED_STRUCT, *values)
        self._problem = ""

    def _require_space(self) -> None:
        limit = self._setup.spool_limit_bytes
        while self._spool_bytes() >= limit and self._leftover_bytes:
            self._leftovers.drop_oldest(self._sessions)
            self._leftover_bytes = self._leftovers.total_bytes(self._sessions)
        if self._spool_bytes() >= limit:
            raise OSError(
                f"the spool is full ({limit // 1_000_000} MB): frames are lost until the server "
                "takes what is spooled; raise spool_limit_mb or mend the connection"
            )

    def _lose(self, stream: SessionStream, slot: int, why: str) -> None:
        self._problem = f"slot {slot} lost: {why}"
        stream.break_chain()
        now_ns = time.monotonic_ns()
        self._write(now_ns, stream.session, EventKind.LOST, LOST_STRUCT, slot, LossPlace.ENCODER)

    def _finish(self, stream: SessionStream) -> None:
        if stream.spool.finished:
            return
        now_ns = time.monotonic_ns()
        states = (AgentState.DRAINING, AgentState.CAPTURING)
        self._write(now_ns, stream.session, EventKind.STATE, STATE_STRUCT, *states)
        stream.finish()

    def _end_past_sessions(self) -> None:
        """Sessions that were over when this worker began: all that was left is encoded now."""
        for session in self._ended:
            if session in self._sessions:
                self._finish(self._sessions[session])
        self._ended.clear()

    def _write(
        self, mono_ns: int, session: int, kind: EventKind, layout: struct.Struct, *values: int
    ) -> None:
        self._log.append(mono_ns, session, self._setup.config.index, kind, layout, *values)

    def _obey(self) -> None:
        """Carry out the orders that have come."""
        while (order := self._channel.receive()) is not None:
            if isinstance(order, SessionOrder):
                self._expect(order)
            elif isinstance(order, DurableUpTo):
                self._note_durable(order)
            elif isinstance(order, Discard):
                self._discard(order)
            elif isinstance(order, Shutdown):
                self._stopping = True
        self._stopping |= self._channel.closed

    def _expect(self, order: SessionOrder) -> None:
        session = order.start.session
        if not order.running:
            self._ended.append(session)
        elif session in self._ended:
            self._ended.remove(session)
        if session in self._sessions:
            return
        setup = self._setup
        folder = session_folder(setup.spool_root, session, self._camera)
        spool = open_spool(folder, order.start, setup.config)

        def on_drained(last_slot: int) -> None:
            self._channel.send(Drained(self._camera, session, spool.frames, last_slot))

        streamer = Streamer(spool, setup.target, setup.idle_close_s, on_drained)
        self._sessions[session] = SessionStream(order.start, setup.config, spool, streamer)
        streamer.start()

    def _note_durable(self, order: DurableUpTo) -> None:
        stream = self._sessions.get(order.session)
        if stream is not None:
            stream.streamer.durable_up_to(order.next_slot)
            stream.spool.forget_before(order.next_slot)

    def _discard(self, order: Discard) -> None:
        stream = self._sessions.pop(order.session, None)
        if stream is not None:
            stream.streamer.stop()
            stream.streamer.join(_STREAMER_END_S)
            stream.spool.close()
        if order.complete:
            self._leftovers.drop(order.session)
        self._leftover_bytes = self._leftovers.total_bytes(self._sessions)

    def _spool_bytes(self) -> int:
        held = sum(stream.spool.total_bytes for stream in self._sessions.values())
        return held + self._leftover_bytes

    def _report(self) -> None:
        now = time.monotonic()
        if now < self._next_status or not self._sessions:
            return
        self._next_status = now + _STATUS_S
        newest = self._sessions[max(self._sessions)]
        problems = [stream.streamer.problem for stream in self._sessions.values()]
        self._channel.send(
            StreamStatus(
                camera=self._camera,
                session=newest.session,
                encoded=newest.encoded,
                sent_slot=newest.streamer.sent_slot,
                spool_bytes=self._spool_bytes(),
                connected=newest.streamer.connected,
                problem=self._problem or next((text for text in problems if text), ""),
            )
        )
