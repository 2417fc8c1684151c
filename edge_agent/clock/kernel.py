"""The kernel's own account of CLOCK_REALTIME: adjtimex(2)."""

import ctypes
from dataclasses import dataclass

from capture_protocol.errors import EnvironmentLackError
from capture_protocol.events import ClockSource
from capture_protocol.frame import MAX_UNCERTAINTY_NS
from edge_agent.clock.discipline import UNKNOWN_DISCIPLINE, Discipline

_STA_UNSYNC = 0x0040
_UNKNOWN_ERROR_NS = 16_000_000_000  # NTP_PHASE_LIMIT: nothing has bounded the error yet
_NS_PER_US = 1000
_PPB_PER_FREQ = 1000 / 65536  # timex.freq counts 2^-16 ppm
_NOMINAL_TICK_US = 10_000
_PPB_PER_TICK = 100_000.0  # a microsecond more per tick of 10 ms


class _Timex(ctypes.Structure):
    """``struct timex`` of 64-bit Linux."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("constant", ctypes.c_long),
        ("precision", ctypes.c_long),
        ("tolerance", ctypes.c_long),
        ("time_s", ctypes.c_long),
        ("time_ns", ctypes.c_long),
        ("tick", ctypes.c_long),
        ("rest", ctypes.c_char * 256),
    )


@dataclass(frozen=True, slots=True)
class KernelClock:
    """What adjtimex(2) says."""

    flagged_synchronised: bool
    """Not STA_UNSYNC; ptp4l clears that when it starts, before it follows anything."""
    max_error_ns: int
    """Grows by itself, 500 ns per ms, until the discipline renews it."""
    estimated_error_ns: int
    frequency_ppb: float
    """Correction that the discipline applies now."""

    @property
    def synchronised(self) -> bool:
        """Somebody keeps it: the error is bounded, by ptp4l from when its servo is locked."""
        return self.flagged_synchronised and self.max_error_ns < _UNKNOWN_ERROR_NS


def read_kernel_clock() -> KernelClock:
    """Ask the kernel; needs no rights.

    Raises:
        EnvironmentLackError: a sandbox forbids the call.
    """
    timex = _Timex()
    if ctypes.CDLL(None).adjtimex(ctypes.byref(timex)) < 0:
        raise EnvironmentLackError(
            "adjtimex is forbidden: the state of the clock cannot be read",
            hint="allow it in the unit: SystemCallFilter=adjtimex, and no ProtectClock",
        )
    return KernelClock(
        flagged_synchronised=not timex.status & _STA_UNSYNC,
        max_error_ns=timex.maxerror * _NS_PER_US,
        estimated_error_ns=timex.esterror * _NS_PER_US,
        frequency_ppb=timex.freq * _PPB_PER_FREQ + (timex.tick - _NOMINAL_TICK_US) * _PPB_PER_TICK,
    )


def ntp_discipline(kernel: KernelClock) -> Discipline:
    """What the kernel's account means for a clock that NTP should discipline.

    The bound is the kernel's maximum error: systemd-timesyncd always claims an estimated error
    of zero.
    """
    if not kernel.synchronised:
        return UNKNOWN_DISCIPLINE
    uncertainty_ns = max(kernel.max_error_ns, kernel.estimated_error_ns)
    return Discipline(
        ClockSource.NTP,
        synchronised=True,
        uncertainty_ns=min(uncertainty_ns, MAX_UNCERTAINTY_NS),
    )
