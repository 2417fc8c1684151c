"""How wrong CLOCK_REALTIME may be, while it is disciplined and after that is lost.

While disciplined, the bound is what the servo's offsets show, and the part of the path delay
that could be asymmetry, which no clock protocol can see. Without discipline the clock keeps its
last frequency, so the bound grows by how uncertain that frequency was: the scatter of the
servo's own corrections (the measured drift), and by the random walk of a warming crystal.
"""

import math
from dataclasses import dataclass

_BOUND_SIGMAS = 2.576  # 99 % of a normal distribution, two-sided
_UNSEEN_NS = 20_000.0  # what software stamps may still show, shared by the samples there are
_ASYMMETRY_SHARE = 0.25  # of the path delay: two unequal directions, stamped in software
_MEMORY = 1 / 16  # samples; at one per second the last quarter of a minute
_UNKNOWN_DRIFT_PPB = 2_000.0  # a Pi's crystal over the temperatures of a room, uncorrected
_DRIFT_FLOOR_PPB = 20.0  # no servo knows a crystal's frequency better than this for long
_WALK_PPB_PER_SQRT_S = 30.0  # a crystal whose board warms up or cools down
_NS_PER_S = 1e9


@dataclass
class _Scatter:
    """Exponentially forgetting mean and variance."""

    mean: float = 0.0
    variance: float = 0.0
    count: int = 0

    def add(self, value: float) -> None:
        """Take in a value; the first ones weigh as in a plain mean."""
        self.count += 1
        weight = max(_MEMORY, 1 / self.count)
        step = value - self.mean
        self.mean += weight * step
        self.variance = (1 - weight) * (self.variance + weight * step * step)


class ClockUncertainty:
    """Bound (99 %) of CLOCK_REALTIME's error against the grandmaster, at any monotonic instant."""

    def __init__(self) -> None:
        self._offsets = _Scatter()
        self._frequencies = _Scatter()
        self._path_delay_ns = 0.0
        self._last_ns: int | None = None

    def observe(
        self,
        monotonic_ns: int,
        offset_ns: float,
        path_delay_ns: float,
        frequency_ppb: float | None = None,
    ) -> None:
        """Take in a sample of a clock that is disciplined at this instant.

        ``frequency_ppb`` is the servo's present correction (adjtimex, or ptp4l's log).
        """
        self._last_ns = monotonic_ns
        self._offsets.add(offset_ns)
        self._path_delay_ns = path_delay_ns
        if frequency_ppb is not None:
            self._frequencies.add(frequency_ppb)

    @property
    def drift_ppb(self) -> float:
        """Bound (99 %) of the frequency error that the clock would have without discipline."""
        if self._frequencies.count < 2:
            return _UNKNOWN_DRIFT_PPB
        return _DRIFT_FLOOR_PPB + _BOUND_SIGMAS * math.sqrt(self._frequencies.variance)

    def bound_ns(self, monotonic_ns: int) -> float | None:
        """Return the bound at an instant; None if the clock was never seen disciplined."""
        if self._last_ns is None:
            return None
        elapsed_s = max(0, monotonic_ns - self._last_ns) / _NS_PER_S
        scatter_ns = abs(self._offsets.mean) + _BOUND_SIGMAS * math.sqrt(self._offsets.variance)
        scatter_ns += _UNSEEN_NS / self._offsets.count
        walk_ns = _BOUND_SIGMAS * _WALK_PPB_PER_SQRT_S * math.sqrt(elapsed_s**3 / 3)
        drift_ns = self.drift_ppb * elapsed_s
        return scatter_ns + _ASYMMETRY_SHARE * self._path_delay_ns + drift_ns + walk_ns
