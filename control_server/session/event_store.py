"""Event logs handed over by agents: appended once, by record number, and synced to disk."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from capture_protocol import InputError, SessionFolder
from capture_protocol.events import EVENT_SIZE, iter_events, unpack_event
from capture_protocol.session import Stage

LogKey = tuple[str, Stage]


@dataclass
class EventStore:
    """The event logs of one session."""

    folder: SessionFolder
    _next: dict[LogKey, int] = field(default_factory=dict)

    def next_number(self, key: LogKey) -> int:
        """Number of the first record that is not stored; 0 where none is."""
        if key not in self._next:
            self._next[key] = repair_log(self.folder.event_log(*key))
        return self._next[key]

    def append(self, key: LogKey, records: bytes) -> int:
        """Store a batch; records that are stored already are passed over.

        Returns:
            the number of the first record that is not stored.

        Raises:
            InputError: the batch holds a damaged record; nothing of it was stored.
            OSError: the disk is full; nothing counts as stored.
        """
        events = list(iter_events(records))
        if len(events) * EVENT_SIZE != len(records):
            raise InputError("event log batch with damaged records")
        expected = self.next_number(key)
        fresh = [event for event in events if event.number >= expected]
        if fresh:
            _append(self.folder.event_log(*key), b"".join(event.pack() for event in fresh))
            self._next[key] = max(event.number for event in fresh) + 1
        return self._next[key]


def repair_log(path: Path) -> int:
    """Cut a torn tail off a log that was being appended to; returns its next record number."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return 0
    whole = len(data) - len(data) % EVENT_SIZE
    while whole:
        event = unpack_event(data[whole - EVENT_SIZE : whole])
        if event is not None:
            break
        whole -= EVENT_SIZE
    else:
        event = None
    if whole < len(data):
        os.truncate(path, whole)
    return event.number + 1 if event else 0


def _append(path: Path, data: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        size = os.fstat(handle).st_size
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(handle, rest) :]
            os.fsync(handle)
        except OSError:
            os.ftruncate(handle, size)
            raise
    finally:
        os.close(handle)
