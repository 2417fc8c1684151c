"""The kernel's own account of CLOCK_REALTIME, by adjtimex(2)."""

import ctypes
from dataclasses import dataclass

from capture_protocol.events import ClockSource
from capture_protocol.frame import MAX_UNCERTAINTY_NS

_STA_UNSYNC = 0x0040
_NS_PER_US = 1000


@dataclass(frozen=True, slots=True)
class Discipline:
    """State of CLOCK_REALTIME."""

    source: ClockSource
    synchronised: bool
    offset_ns: int = 0
    """Estimated error against the reference."""
    uncertainty_ns: int = 0
    """Bound (99 %) of the error."""

    @property
    def problem(self) -> str:
        """Empty, or one line that says what is wrong."""
        if self.synchronised:
            return ""
        return "CLOCK_REALTIME is not synchronised: start PTP (ptp4l, phc2sys) or NTP on this node"


class _Timex(ctypes.Structure):
    """``struct timex`` of 64-bit Linux, up to the fields used here."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 256),
    )


def read_discipline(expected: str) -> Discipline:
    """What disciplines CLOCK_REALTIME now.

    Args:
        expected: node.toml's `clock`. "shared" means that all agents read one clock, so that
            there is no error between them; its distance from UTC does not matter to the rig.
    """
    if expected == "shared":
        return Discipline(ClockSource.SHARED, synchronised=True)
    timex = _Timex()
    ctypes.CDLL(None).adjtimex(ctypes.byref(timex))
    if timex.status & _STA_UNSYNC:
        return Discipline(ClockSource.UNKNOWN, False, 0, MAX_UNCERTAINTY_NS)
    source = ClockSource.PTP_SOFTWARE if expected == "ptp" else ClockSource.NTP
    uncertainty_ns = min(timex.esterror * _NS_PER_US, MAX_UNCERTAINTY_NS)
    return Discipline(source, True, 0, uncertainty_ns)
