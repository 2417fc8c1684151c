"""In-stream evidence: the frame record as SEI user data inside each access unit.

Two messages go before the first slice of every frame, so they survive remuxing, stream copy and
cutting: the frame record under the project's UUID, and beside it a MISB ST 0604 precision time
stamp that other tools read. Layout of a message: ITU-T H.264 D.1.7 / H.265 D.2.7,
`user_data_unregistered`, payload type 5.
"""

import uuid

from capture_protocol.errors import InputError
from capture_protocol.frame import FRAME_SIZE, FrameRecord
from capture_protocol.nal import (
    START_CODE,
    Codec,
    escape,
    split_annex_b,
    split_length_prefixed,
    unescape,
)

EVIDENCE_UUID = uuid.UUID("5f1c7a52-9d0e-4b7c-8a34-7475747469a1").bytes
"""The project's own; fixed for ever. The record's first byte is its version."""

MISB_UUID = b"MISPmicrosectime"
"""Identifier of the microsecond precision time stamp, MISB ST 0604 section 7."""

_USER_DATA_UNREGISTERED = 5
_STATUS_LOCKED = 0x1F
_STATUS_UNLOCKED = 0x9F  # bit 7: the clock is not locked to its reference (MISB ST 0603)


def evidence_nal(record: bytes, midpoint_ns: int, *, locked: bool, codec: Codec) -> bytes:
    """The SEI NAL unit, start code included, that carries a packed record and its MISB stamp.

    Args:
        record: a packed `FrameRecord`.
        midpoint_ns: exposure midpoint, UTC; the MISB stamp's value, in whole microseconds.
        locked: whether the rig's clock is disciplined (the stamp's status bit).
        codec: which NAL header to write.
    """
    messages = _message(EVIDENCE_UUID + record) + _message(MISB_UUID + misb(midpoint_ns, locked))
    return START_CODE + codec.sei_header + escape(messages + b"\x80")


def splice(unit: bytes, nal: bytes, codec: Codec) -> bytes:
    """The Annex B access unit with ``nal`` before its first slice.

    Raises:
        InputError: the access unit has no slice.
    """
    for begin, _ in split_annex_b(unit):
        if codec.is_picture(unit[begin]):
            at = begin - 3
            if at > 0 and unit[at - 1] == 0:
                at -= 1
            return unit[:at] + nal + unit[at:]
    raise InputError("an access unit without a picture cannot carry evidence")


def read_evidence(
    unit: bytes, codec: Codec, length_prefix: int | None = None
) -> FrameRecord | None:
    """The frame record of an access unit, or None if it carries none that is whole.

    Args:
        unit: the access unit as a container hands it out.
        codec: H.264 or H.265.
        length_prefix: size of NAL length prefixes (`nal.length_prefix_size`), None for Annex B.
    """
    for payload in _user_data(unit, codec, length_prefix):
        if payload.startswith(EVIDENCE_UUID) and len(payload) == 16 + FRAME_SIZE:
            return FrameRecord.unpack(payload[16:])
    return None


def read_misb_us(unit: bytes, codec: Codec, length_prefix: int | None = None) -> int | None:
    """The MISB ST 0604 stamp of an access unit in UTC microseconds, or None."""
    for payload in _user_data(unit, codec, length_prefix):
        if payload.startswith(MISB_UUID) and len(payload) == 28:
            stamp = payload[17:]
            return int.from_bytes(stamp[0:2] + stamp[3:5] + stamp[6:8] + stamp[9:11], "big")
    return None


def misb(time_ns: int, locked: bool) -> bytes:
    """Status byte and modified precision time stamp: FF after every second byte (ST 0604)."""
    raw = (time_ns // 1000).to_bytes(8, "big")
    status = _STATUS_LOCKED if locked else _STATUS_UNLOCKED
    return bytes([status]) + b"\xff".join(raw[at : at + 2] for at in (0, 2, 4, 6))


def _message(payload: bytes) -> bytes:
    full, rest = divmod(len(payload), 255)
    return bytes([_USER_DATA_UNREGISTERED]) + b"\xff" * full + bytes([rest]) + payload


def _user_data(unit: bytes, codec: Codec, length_prefix: int | None) -> list[bytes]:
    """Payloads of all user-data-unregistered messages before the first slice."""
    spans = (
        split_annex_b(unit) if length_prefix is None else split_length_prefixed(unit, length_prefix)
    )
    found: list[bytes] = []
    for begin, end in spans:
        if codec.is_picture(unit[begin]):
            break
        if codec.is_sei(unit[begin]):
            found += _sei_payloads(unescape(unit[begin + codec.header_size : end]))
    return found


def _sei_payloads(rbsp: bytes) -> list[bytes]:
    payloads: list[bytes] = []
    at = 0
    while at + 2 <= len(rbsp) and rbsp[at] != 0x80:
        kind, at = _extended(rbsp, at)
        size, at = _extended(rbsp, at)
        if at + size > len(rbsp):
            break
        if kind == _USER_DATA_UNREGISTERED:
            payloads.append(rbsp[at : at + size])
        at += size
    return payloads


def _extended(rbsp: bytes, at: int) -> tuple[int, int]:
    """A value coded as any number of FF bytes and one last byte; returns it and what follows."""
    value = 0
    while at < len(rbsp) and rbsp[at] == 0xFF:
        value += 255
        at += 1
    if at < len(rbsp):
        value += rbsp[at]
    return value, at + 1
