"""State of CLOCK_REALTIME, and the kernel's own account of it by adjtimex(2)."""

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
    """It follows a reference, or did until lately (`holdover`)."""
    holdover: bool = False
    """The reference is lost: the uncertainty grows."""
    offset_ns: int = 0
    """Estimated error against the reference."""
    uncertainty_ns: int = 0
    """Bound (99 %) of the error."""
    problem: str = ""
    """One line that says what is wrong and what to do; empty while all is well."""


UNKNOWN_DISCIPLINE = Discipline(
    ClockSource.UNKNOWN,
    synchronised=False,
    uncertainty_ns=MAX_UNCERTAINTY_NS,
    problem="CLOCK_REALTIME is not synchronised: start PTP (ptp4l, phc2sys) or NTP on this node",
)


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


def read_kernel() -> Discipline:
    """What the kernel says of an NTP-disciplined CLOCK_REALTIME."""
    timex = _Timex()
    ctypes.CDLL(None).adjtimex(ctypes.byref(timex))
    if timex.status & _STA_UNSYNC:
        return UNKNOWN_DISCIPLINE
    uncertainty_ns = min(timex.esterror * _NS_PER_US, MAX_UNCERTAINTY_NS)
    return Discipline(ClockSource.NTP, synchronised=True, uncertainty_ns=uncertainty_ns)
