"""Bracketed clock readings: how ``CLOCK_MONOTONIC`` maps to the rig's UTC, and how sure we are."""

import time
from dataclasses import dataclass

READ_ATTEMPTS = 5
"""Bracketed readings per call; the tightest is kept. A descheduled reading is microseconds wide."""


@dataclass(frozen=True, slots=True)
class ClockReading:
    """One bracketed reading (mono, real, mono) of the two clocks.

    ``mono_ns`` is the middle of the bracket, ``real_ns`` the UTC read inside it, and
    ``width_ns`` the bracket's width: the reading is exact to ± half of it.
    """

    mono_ns: int
    real_ns: int
    width_ns: int

    @property
    def offset_ns(self) -> int:
        """``CLOCK_REALTIME − CLOCK_MONOTONIC``."""
        return self.real_ns - self.mono_ns

    def to_real_ns(self, mono_ns: int) -> int:
        """The UTC of a monotonic instant."""
        return mono_ns + self.offset_ns

    def to_mono_ns(self, real_ns: int) -> int:
        """The monotonic instant of a UTC."""
        return real_ns - self.offset_ns


def read_clock(attempts: int = READ_ATTEMPTS) -> ClockReading:
    """Read both clocks, keeping the tightest of ``attempts`` brackets."""
    return min((_bracket() for _ in range(attempts)), key=lambda reading: reading.width_ns)


def _bracket() -> ClockReading:
    before = time.monotonic_ns()
    real = time.time_ns()
    after = time.monotonic_ns()
    return ClockReading((before + after) // 2, real, after - before)
