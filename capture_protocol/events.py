"""The event log's fixed binary records: written by the agent, read by the audit.

A record is 128 bytes and carries its own number and checksum, so that a reader can tell at any
instant, also after a kill, which records are whole.
"""

import enum
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

EVENT_SIZE = 128
PAYLOAD_SIZE = 100
EVENT_HEADER = struct.Struct("<QQIHBx")  # number, mono_ns, session, camera, kind
EVENT_CHECK = struct.Struct("<I")
CHECK_OFFSET = EVENT_HEADER.size + PAYLOAD_SIZE

EVENT_DTYPE = np.dtype(
    [
        ("number", "<u8"),
        ("mono_ns", "<u8"),
        ("session", "<u4"),
        ("camera", "<u2"),
        ("kind", "u1"),
        ("reserved", "u1"),
        ("payload", f"V{PAYLOAD_SIZE}"),
        ("check", "<u4"),
    ]
)
"""One event for numpy; `payload` is viewed by kind (`FRAME_DTYPE`, `RELEASE_DTYPE`, ...)."""


class EventKind(enum.IntEnum):
    """What happened. The comment names the payload."""

    RELEASE = 1  # RELEASE_STRUCT: a capture request was queued
    FRAME = 2  # the FrameRecord and PICTURE_STRUCT: a frame came and was handed over
    LOST = 3  # LOST_STRUCT: a slot is known to be lost, and where
    ENCODED = 4  # ENCODED_STRUCT: the frame's access unit is whole in the spool
    CLOCK = 5  # CLOCK_STRUCT: what is known of CLOCK_REALTIME
    STEP = 6  # CLOCK_STRUCT: CLOCK_REALTIME was stepped; offset_ns is the size of the step
    STATE = 7  # STATE_STRUCT: the agent's state changed


_KINDS = frozenset(int(kind) for kind in EventKind)


class LossPlace(enum.IntEnum):
    """Where a slot was lost."""

    AGENT = 1  # never released: the agent was not running, or armed too late
    SENSOR = 2  # released, but no frame came
    ENCODER = 3  # a frame came, but no access unit
    NETWORK = 4  # in the agent's spool, but in no file
    FILE = 5  # once in a file, no longer readable there


PICTURE_STRUCT = struct.Struct("<q")
"""Follows the FrameRecord in a FRAME event: what the worker needs to get the picture. A simulated
sensor gives the true exposure midpoint (UTC ns) that the optical clock shows, other backends the
number of a buffer or of a file's frame."""
RELEASE_STRUCT = struct.Struct("<Qqqb")  # slot, target_ns (Tn), released_ns, rank (0 = spin)
RELEASE_DTYPE = np.dtype(
    [("slot", "<u8"), ("target_ns", "<i8"), ("released_ns", "<i8"), ("rank", "i1")]
)
LOST_STRUCT = struct.Struct("<QB")  # slot, LossPlace
LOST_DTYPE = np.dtype([("slot", "<u8"), ("place", "u1")])
ENCODED_STRUCT = struct.Struct("<QIBqI")  # slot, size, key, done_ns (UTC), encode_ns
ENCODED_DTYPE = np.dtype(
    [("slot", "<u8"), ("size", "<u4"), ("key", "u1"), ("done_ns", "<i8"), ("encode_ns", "<u4")]
)
CLOCK_STRUCT = struct.Struct("<qqIqIB")
"""real_ns, mono_ns, width_ns, offset_ns, uncertainty_ns, source (`ClockSource`)."""
CLOCK_DTYPE = np.dtype(
    [
        ("real_ns", "<i8"),
        ("mono_ns", "<i8"),
        ("width_ns", "<u4"),
        ("offset_ns", "<i8"),
        ("uncertainty_ns", "<u4"),
        ("source", "u1"),
    ]
)
STATE_STRUCT = struct.Struct("<BB")  # new AgentState, previous AgentState
STATE_DTYPE = np.dtype([("state", "u1"), ("previous", "u1")])


class ClockSource(enum.IntEnum):
    """What disciplines CLOCK_REALTIME."""

    UNKNOWN = 0
    NTP = 1
    PTP_SOFTWARE = 2
    PTP_HARDWARE = 3
    GRANDMASTER = 4
    SHARED = 5  # all agents run on one host and read the same clock


class AgentState(enum.IntEnum):
    """What an agent is doing."""

    IDLE = 0
    ARMED = 1
    CAPTURING = 2
    DRAINING = 3


@dataclass(frozen=True, slots=True)
class Event:
    """One record of an event log, with its payload still packed."""

    number: int
    mono_ns: int
    session: int
    camera: int
    kind: EventKind
    payload: bytes

    def pack(self) -> bytes:
        """The record's 128 bytes."""
        body = EVENT_HEADER.pack(
            self.number, self.mono_ns, self.session, self.camera, self.kind
        ) + self.payload.ljust(PAYLOAD_SIZE, b"\0")
        return body + EVENT_CHECK.pack(zlib.crc32(body))


def unpack_event(data: bytes | memoryview) -> Event | None:
    """The event in these 128 bytes, or None if they are not one whole record."""
    if len(data) != EVENT_SIZE:
        return None
    body = data[:CHECK_OFFSET]
    if EVENT_CHECK.unpack_from(data, CHECK_OFFSET)[0] != zlib.crc32(body):
        return None
    number, mono_ns, session, camera, kind = EVENT_HEADER.unpack_from(data)
    if number == 0 or kind not in _KINDS:
        return None
    payload = bytes(body[EVENT_HEADER.size :])
    return Event(number, mono_ns, session, camera, EventKind(kind), payload)


def iter_events(data: bytes | memoryview) -> Iterator[Event]:
    """All whole events of a buffer of consecutive records; damaged ones are passed over."""
    view = memoryview(data)
    for offset in range(0, len(view) - EVENT_SIZE + 1, EVENT_SIZE):
        event = unpack_event(view[offset : offset + EVENT_SIZE])
        if event is not None:
            yield event


def payload_array(
    events: npt.NDArray[np.void], kind: EventKind, dtype: "np.dtype[np.void]"
) -> npt.NDArray[np.void]:
    """The payloads of one kind as a structured array.

    Args:
        events: array of `EVENT_DTYPE`.
        kind: which events to take.
        dtype: the payload's layout, at most `PAYLOAD_SIZE` bytes.
    """
    chosen = np.ascontiguousarray(events["payload"][events["kind"] == kind])
    raw = chosen.view(np.uint8).reshape(len(chosen), PAYLOAD_SIZE)[:, : dtype.itemsize]
    return np.ascontiguousarray(raw).view(dtype).reshape(len(chosen))
