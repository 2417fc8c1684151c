"""The frame record: the evidence of one frame's time, the same bytes in stream, log and table."""

import enum
import struct
from dataclasses import astuple, dataclass
from fractions import Fraction

import numpy as np

from capture_protocol.errors import InputError
from capture_protocol.grid import Grid

RECORD_VERSION = 1
NO_SESSION = 0
MAX_UNCERTAINTY_NS = 2**32 - 1
"""An uncertainty is stored in 32 bits; this value means "this or more" (4.29 s)."""


class LockState(enum.IntEnum):
    """How well a camera's exposure follows the grid."""

    FREE = 0
    PULLING = 1
    LOCKED = 2
    HOLDOVER = 3


class FrameFlag(enum.IntFlag):
    """What is unusual about a frame."""

    NONE = 0
    LATE = 1  # its exposure midpoint is off its slot by more than a quarter period
    REPEATED = 2  # the source had no new picture for this slot and gave the last one again
    CLOCK_STEPPED = 4  # CLOCK_REALTIME was stepped in this session; the old mapping is kept
    UNSYNCHRONISED = 8  # no PTP or NTP discipline is known for CLOCK_REALTIME
    CLOCK_HOLDOVER = 16  # the discipline was lost; the uncertainty grows
    FORCED = 32  # the session was started although preflight failed
    SIMULATED = 64  # the picture comes from a simulated sensor or a file, not from a sensor here


_LAYOUT: tuple[tuple[str, str], ...] = (
    ("version", "u1"),
    ("lock", "u1"),
    ("flags", "u2"),
    ("camera", "u2"),
    ("session", "u4"),
    ("slot", "u8"),
    ("slot_time_ns", "i8"),
    ("rate_num", "u4"),
    ("rate_den", "u4"),
    ("release_ns", "i8"),
    ("frame_start_ns", "i8"),
    ("exposure_ns", "u4"),
    ("line_time_ns", "u4"),
    ("rows", "u2"),
    ("sequence", "u4"),
    ("frame_duration_ns", "u4"),
    ("gain_milli", "u4"),
    ("sensor_delay_ns", "i4"),
    ("clock_offset_ns", "i8"),
    ("clock_uncertainty_ns", "u4"),
    ("stamp_uncertainty_ns", "u4"),
)
_CODES = {"u1": "B", "u2": "H", "u4": "I", "u8": "Q", "i4": "i", "i8": "q"}

FRAME_STRUCT = struct.Struct("<" + "".join(_CODES[kind] for _, kind in _LAYOUT))
"""Little-endian, unpadded; field order as in `FrameRecord`. The hot path packs with it directly."""

FRAME_DTYPE = np.dtype([(name, "<" + kind) for name, kind in _LAYOUT])
"""The same layout for numpy: a buffer of records is read without a copy."""

FRAME_SIZE = FRAME_STRUCT.size


@dataclass(frozen=True, slots=True)
class FrameRecord:
    """Evidence of one frame. All times in integer ns; instants are UTC of the rig's clock."""

    version: int
    """Layout version, `RECORD_VERSION`."""
    lock: int
    """`LockState` of the camera's genlock."""
    flags: int
    """`FrameFlag` bits."""
    camera: int
    """The camera's index in the rig."""
    session: int
    """Session number."""
    slot: int
    """Slot number n on the session's grid."""
    slot_time_ns: int
    """Tn."""
    rate_num: int
    """Numerator of the frame rate; with `rate_den` and Tn the whole grid is known."""
    rate_den: int
    """Denominator of the frame rate."""
    release_ns: int
    """When the request of this slot was really queued; 0 where none was (free-running source)."""
    frame_start_ns: int
    """The sensor's frame start (start of the first row's read-out), mapped to UTC."""
    exposure_ns: int
    """Exposure time of one row."""
    line_time_ns: int
    """Time from one row's read-out to the next; 0 for a global shutter."""
    rows: int
    """Rows that the sensor reads out."""
    sequence: int
    """The sensor's own frame counter, modulo 2³²."""
    frame_duration_ns: int
    """Frame length that the sensor reports, 0 if unknown."""
    gain_milli: int
    """Analogue gain times 1000, 0 if unknown."""
    sensor_delay_ns: int
    """The sensor's constant between stamp and true frame start."""
    clock_offset_ns: int
    """Estimated error of CLOCK_REALTIME against the grandmaster (not applied to the times)."""
    clock_uncertainty_ns: int
    """Bound (99 %) of the clock's error, including that of the mapping from CLOCK_MONOTONIC."""
    stamp_uncertainty_ns: int
    """Bound (99 %) of the frame-start stamp's own error."""

    @property
    def rate(self) -> Fraction:
        """Frames per second, exact."""
        return Fraction(self.rate_num, self.rate_den)

    @property
    def grid(self) -> Grid:
        """The session's grid, recovered from this one frame."""
        offset_ns = Grid(0, self.rate).offset_ns(self.slot)
        return Grid(self.slot_time_ns - offset_ns, self.rate)

    @property
    def midpoint_ns(self) -> int:
        """Exposure midpoint: when the middle row was half exposed."""
        return midpoint_ns(
            self.frame_start_ns,
            self.exposure_ns,
            self.line_time_ns,
            self.rows,
            self.sensor_delay_ns,
        )

    @property
    def uncertainty_ns(self) -> int:
        """Bound (99 %) of the midpoint's error: clock and stamp errors together."""
        return min(self.clock_uncertainty_ns + self.stamp_uncertainty_ns, MAX_UNCERTAINTY_NS)

    def pack(self) -> bytes:
        """The record's fixed little-endian form, `FRAME_SIZE` bytes."""
        return FRAME_STRUCT.pack(*astuple(self))

    @classmethod
    def unpack(cls, data: bytes | memoryview) -> "FrameRecord":
        """Read a packed record.

        Raises:
            InputError: wrong size, or a version this software does not know.
        """
        if len(data) != FRAME_SIZE:
            raise InputError(f"a frame record has {FRAME_SIZE} bytes, not {len(data)}")
        record = cls(*FRAME_STRUCT.unpack(data))
        if record.version != RECORD_VERSION:
            raise InputError(
                f"frame record version {record.version} is not known",
                hint=f"this software reads version {RECORD_VERSION}; update it",
            )
        if record.rate_num == 0 or record.rate_den == 0:
            raise InputError("frame record without a frame rate")
        return record


def midpoint_ns(
    frame_start_ns: int, exposure_ns: int, line_time_ns: int, rows: int, sensor_delay_ns: int
) -> int:
    """When the middle row was half exposed: a row is read out when its exposure ends."""
    return frame_start_ns + sensor_delay_ns + rows // 2 * line_time_ns - exposure_ns // 2
