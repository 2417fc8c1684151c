"""The true time of a simulated world, where the node itself must not know it.

A simulated node may live by a clock of its own: a preloaded library that stands between its
programs and the kernel's CLOCK_REALTIME, and that ptp4l disciplines like a real one. Light and
pictures do not care what a node believes: the optical clock then has to show the kernel's
CLOCK_REALTIME, which is the time of the simulated world and of its grandmaster. Only the simulated
sensor's physics may look at it.
"""

import ctypes

from capture_protocol.clock import READ_ATTEMPTS, ClockReading

_CLOCK_REALTIME, _CLOCK_MONOTONIC = 0, 1
_NS_PER_S = 1_000_000_000


class _Timespec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


class KernelTime:
    """The kernel's UTC, also past a preloaded clock."""

    def __init__(self) -> None:
        # A symbol looked up in the C library itself, not in the process, is not interposed.
        self._gettime = ctypes.CDLL("libc.so.6").clock_gettime
        self._now = _Timespec()
        self._reference = ctypes.byref(self._now)

    def real_ns(self, mono_ns: int) -> int:
        """UTC of an instant of CLOCK_MONOTONIC, which the simulation leaves as it is."""
        return self.read().to_real_ns(mono_ns)

    def read(self) -> ClockReading:
        """The tightest of some bracketed readings."""
        readings = (self._bracket() for _ in range(READ_ATTEMPTS))
        return min(readings, key=lambda reading: reading.width_ns)

    def _bracket(self) -> ClockReading:
        before_ns = self._read(_CLOCK_MONOTONIC)
        real_ns = self._read(_CLOCK_REALTIME)
        after_ns = self._read(_CLOCK_MONOTONIC)
        return ClockReading((before_ns + after_ns) // 2, real_ns, after_ns - before_ns)

    def _read(self, clock: int) -> int:
        self._gettime(clock, self._reference)
        return int(self._now.tv_sec) * _NS_PER_S + int(self._now.tv_nsec)
