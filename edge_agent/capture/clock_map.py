"""How CLOCK_MONOTONIC maps to UTC during a session: slewing is followed, steps are not."""

from capture_protocol.clock import ClockReading

_MAX_SLEW_PPM = 600
"""The kernel slews by at most 500 ppm (adjtimex(2)); 600 leaves room for the reading's noise."""
_STEP_FLOOR_NS = 50_000
"""A jump below this within one frame period is not told from a late reading."""
_WARY_NS = 2_000_000_000
"""After a step the servo corrects what is left by slewing at percents instead of ppm, or by more
steps. For this long nothing beyond an ordinary slew is followed, however small it is."""


class ClockMap:
    """The mapping of one session, fed with a bracketed reading per frame.

    After a step of CLOCK_REALTIME the old mapping goes on (slewing still followed), so that the
    grid does not tear; `stepped` marks every frame from there on.
    """

    def __init__(self, reading: ClockReading) -> None:
        self._last = reading
        self._steps_ns = 0
        self._wary_until_ns = reading.mono_ns
        self.stepped = False

    def reset(self, reading: ClockReading) -> None:
        """Begin anew: a session takes the clock as it is at its start."""
        self._last = reading
        self._steps_ns = 0
        self._wary_until_ns = reading.mono_ns
        self.stepped = False

    def update(self, reading: ClockReading) -> int:
        """Take a new reading; return the size of the step it reveals, 0 if there is none (ns)."""
        moved_ns = reading.offset_ns - self._last.offset_ns
        elapsed_ns = reading.mono_ns - self._last.mono_ns
        noise_ns = reading.width_ns + self._last.width_ns
        if reading.mono_ns >= self._wary_until_ns:
            noise_ns += _STEP_FLOOR_NS
        self._last = reading
        if abs(moved_ns) <= elapsed_ns * _MAX_SLEW_PPM // 1_000_000 + noise_ns:
            return 0
        self._steps_ns += moved_ns
        self._wary_until_ns = reading.mono_ns + _WARY_NS
        self.stepped = True
        return moved_ns

    @property
    def offset_ns(self) -> int:
        """What to add to CLOCK_MONOTONIC to get the session's UTC."""
        return self._last.offset_ns - self._steps_ns

    @property
    def stepped_by_ns(self) -> int:
        """All steps together: which of the mappings before and after was right is not known."""
        return self._steps_ns

    @property
    def width_ns(self) -> int:
        """Width of the last reading's bracket; the mapping is exact to ± half of it."""
        return self._last.width_ns

    @property
    def reading(self) -> ClockReading:
        """The last reading, as it was."""
        return self._last
