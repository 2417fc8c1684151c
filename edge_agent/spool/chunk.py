"""The bytes of a spool chunk: one header, then framed access units."""

import os
import struct
import zlib
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from capture_protocol.errors import TuttiError

_HEADER = struct.Struct("<8sIHHIIIHH")
"""magic, session, camera, reserved, rate num, rate den, gop, width, height."""
_MAGIC = b"TUTSPL01"
_FRAME = struct.Struct("<QIB3xII")
"""slot, size, key, checksum of the access unit, checksum of this frame header before it."""
_FRAME_CHECKED = _FRAME.size - 4

HEADER_SIZE = _HEADER.size + 4
FRAME_OVERHEAD = _FRAME.size
_VERIFIED_TAIL = 300
"""A kill tears only the last access unit; this many are verified in case power was lost."""


class SpoolError(TuttiError):
    """A spool cannot be used."""


@dataclass(frozen=True, slots=True)
class SpoolHeader:
    """What a chunk says of its stream: enough to deliver it without any other file."""

    session: int
    camera: int
    rate: Fraction
    gop: int
    width: int
    height: int

    def pack(self) -> bytes:
        """The header's bytes."""
        body = _HEADER.pack(
            _MAGIC,
            self.session,
            self.camera,
            0,
            self.rate.numerator,
            self.rate.denominator,
            self.gop,
            self.width,
            self.height,
        )
        return body + zlib.crc32(body).to_bytes(4, "little")

    @classmethod
    def unpack(cls, data: bytes) -> "SpoolHeader | None":
        """The header in these bytes, or None if they hold none."""
        body, check = data[: _HEADER.size], data[_HEADER.size : HEADER_SIZE]
        if len(check) != 4 or zlib.crc32(body) != int.from_bytes(check, "little"):
            return None
        magic, session, camera, _, num, den, gop, width, height = _HEADER.unpack(body)
        if magic != _MAGIC or num == 0 or den == 0:
            return None
        return cls(session, camera, Fraction(num, den), gop, width, height)


class Entry(NamedTuple):
    """Where one access unit lies."""

    slot: int
    key: bool
    chunk: int
    """Number of the chunk within the spool."""
    offset: int
    size: int


def frame_unit(slot: int, unit: bytes, key: bool) -> bytes:
    """An access unit as it lies in a chunk."""
    head = _FRAME.pack(slot, len(unit), key, zlib.crc32(unit), 0)[:_FRAME_CHECKED]
    return head + zlib.crc32(head).to_bytes(4, "little") + unit


def scan_chunk(handle: int, chunk: int) -> tuple[list[Entry], int]:
    """All whole access units of a chunk, and where the file should end.

    Args:
        handle: the chunk's file, behind a valid header.
        chunk: its number, for the entries.
    """
    size = os.fstat(handle).st_size
    entries: list[Entry] = []
    checks: list[int] = []
    at = HEADER_SIZE
    while (found := _read_frame(handle, at, size)) is not None:
        slot, length, key, check = found
        entries.append(Entry(slot, key, chunk, at + _FRAME.size, length))
        checks.append(check)
        at += _FRAME.size + length
    for index in range(max(0, len(entries) - _VERIFIED_TAIL), len(entries)):
        entry = entries[index]
        if zlib.crc32(os.pread(handle, entry.size, entry.offset)) != checks[index]:
            return entries[:index], entry.offset - _FRAME.size
    return entries, at


def _read_frame(handle: int, at: int, size: int) -> tuple[int, int, bool, int] | None:
    head = os.pread(handle, _FRAME.size, at)
    if len(head) < _FRAME.size:
        return None
    slot, length, key, check, head_check = _FRAME.unpack(head)
    if zlib.crc32(head[:_FRAME_CHECKED]) != head_check or at + _FRAME.size + length > size:
        return None
    return slot, length, bool(key), check
