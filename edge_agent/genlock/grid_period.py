"""The grid's period as the monotonic clock measures it."""

_MEMORY = 1 / 64  # frames; the mapping between the clocks is read anew for each, with some noise
_TOLERANCE = 500e-6  # a larger change between two slots is a step of the rig's clock


class GridPeriod:
    """The period between slots, monotonic ns: nominal at first, then followed.

    The rig's clock and CLOCK_MONOTONIC differ in rate by some ppm; over the frames that are
    settled ahead that would be microseconds.
    """

    def __init__(self, nominal_ns: float) -> None:
        self.nominal_ns = nominal_ns
        self.ns = nominal_ns

    def learn(self, moved_ns: int) -> None:
        """Note that the nearest slot is this much later than the one of the frame before."""
        slots = round(moved_ns / self.nominal_ns)
        if slots < 1:
            return
        period_ns = moved_ns / slots
        if abs(period_ns - self.nominal_ns) < _TOLERANCE * self.nominal_ns:
            self.ns += _MEMORY * (period_ns - self.ns)

    def wrap(self, phase_ns: float) -> float:
        """Return a phase against the nearest slot."""
        return phase_ns - self.ns * round(phase_ns / self.ns)
