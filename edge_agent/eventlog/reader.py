"""Readers of an event-log ring: other processes that follow its writer."""

import mmap
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from capture_protocol.errors import TuttiError
from capture_protocol.events import CHECK_OFFSET, EVENT_CHECK, EVENT_DTYPE, EVENT_SIZE

_NUMBER_SIZE = 8


class Overtaken(TuttiError):  # noqa: N818  # it names what happened to the reader
    """The writer wrapped around and replaced records that this reader had not read."""

    def __init__(self, lost: int, oldest: int) -> None:
        super().__init__(f"{lost} event records were replaced before they were read")
        self.lost = lost
        self.oldest = oldest
        """The oldest number that can still be read."""


class RingReader:
    """Follows a ring from a record number on; never blocks and never writes."""

    def __init__(self, path: Path, next_number: int = 1) -> None:
        """Open an existing ring.

        Raises:
            OSError: the file is missing or empty.
        """
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        self._records = len(self._map) // EVENT_SIZE
        self.next_number = next_number

    def read_one(self) -> bytes | None:
        """The next whole record, or None if it is not written yet.

        Raises:
            Overtaken: the record was replaced; `next_number` has moved to the oldest one.
        """
        offset = (self.next_number - 1) % self._records * EVENT_SIZE
        record = self._map[offset : offset + EVENT_SIZE]
        number = int.from_bytes(record[:_NUMBER_SIZE], "little")
        if number < self.next_number:
            return None
        if number > self.next_number:
            raise self._overtaken()
        if not _is_whole(record):
            return None
        self.next_number += 1
        return record

    def read(self, most: int) -> bytes:
        """Up to ``most`` whole records that follow, possibly none.

        Raises:
            Overtaken: as `read_one`.
        """
        found: list[bytes] = []
        while len(found) < most:
            record = self.read_one()
            if record is None:
                break
            found.append(record)
        return b"".join(found)

    def close(self) -> None:
        """Unmap the ring."""
        self._map.close()

    def _overtaken(self) -> Overtaken:
        highest = highest_number(self._map)
        oldest = max(highest - self._records + 2, 1)  # one record may just be rewritten
        lost = oldest - self.next_number
        self.next_number = oldest
        return Overtaken(lost, oldest)


def highest_number(ring: "mmap.mmap | memoryview") -> int:
    """The highest number of a whole record in the ring, 0 if it holds none."""
    events = _records(ring)
    order = np.argsort(events["number"])[::-1]
    for index in order:
        number = int(events["number"][index])
        if number == 0:
            return 0
        start = int(index) * EVENT_SIZE
        record = bytes(ring[start : start + EVENT_SIZE])
        if (number - 1) % len(events) == index and _is_whole(record):
            return number
    return 0


def session_numbers(path: Path) -> dict[int, tuple[int, int]]:
    """Lowest and highest record number of every session that the ring still holds."""
    with path.open("rb") as file:
        ring = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    events = _records(ring)
    held = events[events["number"] > 0]
    found = {}
    for session in np.unique(held["session"]):
        numbers = held["number"][held["session"] == session]
        found[int(session)] = (int(numbers.min()), int(numbers.max()))
    return found


def _records(ring: "mmap.mmap | memoryview") -> npt.NDArray[np.void]:
    return np.frombuffer(bytes(ring), EVENT_DTYPE)


def _is_whole(record: bytes) -> bool:
    return bool(
        EVENT_CHECK.unpack_from(record, CHECK_OFFSET)[0] == zlib.crc32(record[:CHECK_OFFSET])
    )
