"""Handing an event log over to the server: batches, repeated until the server has stored them."""

from pathlib import Path
from typing import Literal

from capture_protocol.control import EventLog
from capture_protocol.events import EVENT_SIZE, AgentState, Event, EventKind, iter_events
from edge_agent.eventlog import Overtaken, RingReader, session_numbers

_BATCH_RECORDS = 2048  # 256 KB: a minute of a camera at 15 fps in one message
_REPEAT_S = 3.0

Stage = Literal["capture", "stream"]


class LogHandover:
    """One session's records of one event log, on their way to the server.

    The server names what it has stored; what it has not is sent again. Nothing is remembered
    over a restart: the ring still holds the records, and records carry their numbers. Records of
    other sessions are passed over, so numbers in a batch ascend but need not be consecutive.
    """

    def __init__(self, node: str, camera: str, stage: Stage, session: int, path: Path) -> None:
        self.camera = camera
        self.stage: Stage = stage
        self.session = session
        self.lost = 0
        """Records replaced in the ring before the server stored them."""
        self.complete = False
        """The server has stored the last record of the session."""
        self._node = node
        self._path = path
        self._reader: RingReader | None = None
        self._pending: list[Event] = []
        self._final_pending = False
        self._repeat_at = 0.0
        self._ended = False

    def batch(self, now_s: float, over: bool) -> tuple[EventLog, bytes] | None:
        """The next message to send, or None if there is none now.

        Args:
            now_s: monotonic seconds.
            over: the session has ended on this node.
        """
        if self.complete:
            return None
        if not self._pending and not self._final_pending:
            self._pending, at_end = self._read()
            self._final_pending = over and at_end and (self.stage == "capture" or self._ended)
        elif now_s < self._repeat_at:
            return None
        if not self._pending and not self._final_pending:
            return None
        self._repeat_at = now_s + _REPEAT_S
        return self._message(), b"".join(event.pack() for event in self._pending)

    def on_stored(self, next_number: int) -> None:
        """The server has stored all records of this session below ``next_number``."""
        self._pending = [event for event in self._pending if event.number >= next_number]
        if not self._pending:
            self.complete = self._final_pending
            self._final_pending = False

    def close(self) -> None:
        """Unmap the ring."""
        if self._reader is not None:
            self._reader.close()

    def _message(self) -> EventLog:
        return EventLog(
            node=self._node,
            camera=self.camera,
            stage=self.stage,
            session=self.session,
            first_number=self._pending[0].number if self._pending else self._next_number(),
            final=self._final_pending,
        )

    def _next_number(self) -> int:
        return self._reader.next_number if self._reader is not None else 1

    def _read(self) -> tuple[list[Event], bool]:
        """Records of the session that follow, and whether that is all there is now."""
        if self._reader is None and not self._open():
            return [], True
        reader = self._reader
        if reader is None:
            return [], True
        try:
            data = reader.read(_BATCH_RECORDS)
        except Overtaken as overtaken:
            self.lost += overtaken.lost
            return [], False
        events = [event for event in iter_events(data) if event.session == self.session]
        for event in events:
            if event.kind is EventKind.STATE:
                self._ended = event.payload[0] == AgentState.DRAINING
        return events, len(data) < _BATCH_RECORDS * EVENT_SIZE

    def _open(self) -> bool:
        """Open the ring at the session's first record; False while there is none."""
        if not self._path.exists():
            return False
        held = session_numbers(self._path)
        if self.session not in held:
            return False
        self._reader = RingReader(self._path, held[self.session][0])
        return True
