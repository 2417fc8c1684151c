"""Readers of an event-log ring: other processes that follow its writer."""

import mmap
import zlib
from pathlib import Path
from typing import Any

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
    numbers = np.frombuffer(ring, EVENT_DTYPE)["number"].copy()
    for index in np.argsort(numbers)[::-1]:
        number = int(numbers[index])
        if number == 0:
            return 0
        start = int(index) * EVENT_SIZE
        record = bytes(ring[start : start + EVENT_SIZE])
        if (number - 1) % len(numbers) == index and _is_whole(record):
            return number
    return 0


def session_numbers(path: Path) -> dict[int, tuple[int, int]]:
    """Lowest and highest record number of every session that the ring still holds."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as ring:
        numbers, sessions = _numbers_and_sessions(ring)
    found = {}
    for session in np.unique(sessions[numbers > 0]):
        held = numbers[(sessions == session) & (numbers > 0)]
        found[int(session)] = (int(held.min()), int(held.max()))
    return found


def _numbers_and_sessions(ring: mmap.mmap) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Both columns, copied: a view would keep the map open, a whole copy costs 8 MB."""
    events = np.frombuffer(ring, EVENT_DTYPE)
    return events["number"].copy(), events["session"].copy()


def _is_whole(record: bytes) -> bool:
    check = EVENT_CHECK.unpack_from(record, CHECK_OFFSET)[0]
    return bool(check == zlib.crc32(record[:CHECK_OFFSET]))
