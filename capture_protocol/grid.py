"""The absolute grid ``Tn = t0 + n·Δ``: the instant of a slot, and the slot of an instant."""

from dataclasses import dataclass
from fractions import Fraction

from capture_protocol.errors import InputError

NS_PER_S = 1_000_000_000
MAX_RATE_HZ = 1000


def parse_rate(text: str) -> Fraction:
    """Frames per second from ``"30"``, ``"29.97"`` or ``"30000/1001"``.

    Raises:
        InputError: not a number, not positive, or faster than 1000 frames per second.
    """
    try:
        rate = Fraction(text.strip())
    except (ValueError, ZeroDivisionError) as error:
        raise InputError(
            f"frame rate {text!r} is not a number", hint="write it as 30, 12.5 or 30000/1001"
        ) from error
    if not 0 < rate <= MAX_RATE_HZ:
        raise InputError(f"frame rate {text} is outside (0, {MAX_RATE_HZ}]")
    return rate


@dataclass(frozen=True, slots=True)
class Grid:
    """Slots of one session in integer nanoseconds, free of accumulated rounding.

    ``t0_ns`` is the instant of slot 0 on whichever clock the caller means (the rig's UTC for
    evidence, ``CLOCK_MONOTONIC`` for releases); ``rate`` is exact, so 30000/1001 stays on the
    grid for ever: every slot is rounded once from the exact value.
    """

    t0_ns: int
    rate: Fraction

    @property
    def period_ns(self) -> int:
        """Δ rounded to the nearest nanosecond; for display and margins, never for summing."""
        return self.offset_ns(1)

    def offset_ns(self, slot: int) -> int:
        """``n·Δ`` rounded half up to the nearest nanosecond."""
        num, den = self.rate.numerator, self.rate.denominator
        return (2 * slot * den * NS_PER_S + num) // (2 * num)

    def time_ns(self, slot: int) -> int:
        """``Tn``, the instant of slot ``slot``."""
        return self.t0_ns + self.offset_ns(slot)

    def nearest_slot(self, time_ns: int) -> int:
        """The slot whose instant is closest to ``time_ns`` (the later one on a tie)."""
        slot = self._floor_slot(time_ns)
        before, after = self.time_ns(slot), self.time_ns(slot + 1)
        return slot if time_ns - before < after - time_ns else slot + 1

    def next_slot(self, time_ns: int) -> int:
        """The first slot whose instant is not before ``time_ns``; never negative."""
        slot = self._floor_slot(time_ns)
        if self.time_ns(slot) < time_ns:
            slot += 1
        return max(slot, 0)

    def moved(self, delta_ns: int) -> "Grid":
        """The same grid on a clock that reads ``delta_ns`` more."""
        return Grid(self.t0_ns + delta_ns, self.rate)

    def _floor_slot(self, time_ns: int) -> int:
        num, den = self.rate.numerator, self.rate.denominator
        slot = (time_ns - self.t0_ns) * num // (den * NS_PER_S)
        while self.time_ns(slot) > time_ns:  # rounding of Tn may put it just past time_ns
            slot -= 1
        while self.time_ns(slot + 1) <= time_ns:
            slot += 1
        return slot
