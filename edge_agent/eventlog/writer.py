"""The single writer of an event-log ring."""

import fcntl
import mmap
import os
import struct
import time
import zlib
from pathlib import Path

from capture_protocol.errors import TuttiError
from capture_protocol.events import (
    CHECK_OFFSET,
    EVENT_CHECK,
    EVENT_HEADER,
    EVENT_SIZE,
    PAYLOAD_SIZE,
    EventKind,
)
from edge_agent.eventlog.reader import highest_number

DEFAULT_RECORDS = 65_536
"""8 MB: nine minutes of a camera at 60 fps (a release and a frame per slot) without hand-over."""

_LOCK_WAIT_S = 3.0  # a predecessor that was told to die needs a moment
_ZEROS = bytes(PAYLOAD_SIZE)


class LogBusyError(TuttiError):
    """Another process writes this event log."""


class RingWriter:
    """Appends records in place: no allocation that stays, no system call, no lock.

    The checksum is written last; a reader takes a record only when number and checksum fit.
    """

    def __init__(self, path: Path, records: int = DEFAULT_RECORDS) -> None:
        """Open or create the ring and continue after its highest whole record.

        Raises:
            LogBusyError: another process holds the ring, also after a wait of 3 s.
            OSError: the folder is missing or full.
        """
        self._file = path.open("a+b")
        _take_lock(self._file.fileno(), path)
        os.posix_fallocate(self._file.fileno(), 0, records * EVENT_SIZE)
        self._map = mmap.mmap(self._file.fileno(), records * EVENT_SIZE)
        self._view = memoryview(self._map)
        self._records = records
        self.next_number = highest_number(self._view) + 1

    def begin(self, mono_ns: int, session: int, camera: int, kind: int) -> int:
        """Write the header of the next record with an empty payload; return where it starts."""
        offset = (self.next_number - 1) % self._records * EVENT_SIZE
        EVENT_HEADER.pack_into(self._map, offset, self.next_number, mono_ns, session, camera, kind)
        start = offset + EVENT_HEADER.size
        self._view[start : start + PAYLOAD_SIZE] = _ZEROS
        return offset

    def commit(self, offset: int) -> None:
        """Make the record that `begin` started whole."""
        check = zlib.crc32(self._view[offset : offset + CHECK_OFFSET])
        EVENT_CHECK.pack_into(self._map, offset + CHECK_OFFSET, check)
        self.next_number += 1

    def append(
        self,
        mono_ns: int,
        session: int,
        camera: int,
        kind: EventKind,
        layout: struct.Struct,
        *values: int,
    ) -> None:
        """Write one whole record whose payload is ``values`` packed by ``layout``."""
        offset = self.begin(mono_ns, session, camera, kind)
        layout.pack_into(self._map, offset + EVENT_HEADER.size, *values)
        self.commit(offset)

    @property
    def buffer(self) -> mmap.mmap:
        """The ring's memory: the hot path packs a payload `EVENT_HEADER.size` after `begin`."""
        return self._map

    def close(self) -> None:
        """Release the ring; what was written stays."""
        self._view.release()
        self._map.close()
        self._file.close()


def _take_lock(handle: int, path: Path) -> None:
    deadline = time.monotonic() + _LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise LogBusyError(
                    f"{path} is written by another process",
                    hint="two agents must not share a state folder; stop the other one",
                ) from error
            time.sleep(0.02)
        else:
            return
