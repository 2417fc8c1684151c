"""Where a sensor's frames fall and how fast it runs: a two-state Kalman filter.

State: phase (frame start minus a slot of the grid, ns; the caller moves the slot) and rate (how
much longer the sensor's lines take than nominal, dimensionless). The model of an oscillator as
white frequency noise over a random walk of frequency is the usual one for clocks (Zucca &
Tavella, IEEE T-UFFC 52(2), 2005). The noise of the stamps is learned, because no two interrupt
controllers are alike: by tracking the median of the innovations, which tails cannot drag along.
"""

import math

_START_RATE_SIGMA = 100e-6  # two crystals of 50 ppm
_START_FRAMES = 5  # their median is the first phase: any one of them may be a late interrupt
_START_PHASE_SIGMA_NS = 7_000.0  # of that median, if the rate is off by 100 ppm at 30 fps
_UNCONFIRMED_SIGMA_NS = 50_000.0  # until then a late interrupt may be believed
_PHASE_NOISE_NS = 100.0  # per frame: reading the clocks that map the grid to monotonic time
_RATE_WALK_PER_SQRT_S = 0.1e-6  # a sensor board that warms up: 0.1 ppm within a second
_STAMP_NOISE_START_NS = 5_000.0
_STAMP_NOISE_RANGE_NS = (300.0, 500_000.0)
_MEDIAN_OF_NORMAL = 0.6745  # median of |x| for a standard normal x
_LEARNING_START_FRAMES = 5  # the first steps are large: 1/5, 1/6, ...
_LEARNING_STEP = 0.01  # then 1 % per frame: the learned noise is calm to about 5 %
_GATE_SIGMAS = 5.0
_BIAS_MEMORY = 1 / 8
_BIAS_LIMIT = 5.0 * math.sqrt(_BIAS_MEMORY / (2 - _BIAS_MEMORY))  # 5 σ of that average
_NS_PER_S = 1e9


class PhaseEstimator:
    """Kalman filter of phase and rate, with an outlier gate and a learned stamp noise."""

    def __init__(self) -> None:
        self.rate = 0.0
        self._elapsed_ns = _NS_PER_S
        self._stamp_variance = _STAMP_NOISE_START_NS**2
        self._learned = _LEARNING_START_FRAMES
        self.restart(0.0)

    def restart(self, phase_ns: float) -> None:
        """Begin again at a measured phase; what is known of rate and noise is kept as a start."""
        self.phase_ns = phase_ns
        self._first: list[float] = [0.0]
        self._begin_filter()

    def _begin_filter(self) -> None:
        self._pp = self._stamp_variance + _START_PHASE_SIGMA_NS**2
        self._pr = self._bias = self._last_innovation_ns = 0.0
        self._rr = _START_RATE_SIGMA**2

    @property
    def sigma_ns(self) -> float:
        """One standard deviation of the phase."""
        if len(self._first) < _START_FRAMES:
            return _UNCONFIRMED_SIGMA_NS
        return math.sqrt(self._pp)

    @property
    def stamp_sigma_ns(self) -> float:
        """One standard deviation of a stamp's noise, as learned."""
        return math.sqrt(self._stamp_variance)

    @property
    def gate_ns(self) -> float:
        """A stamp further than this from the prediction is an outlier."""
        return _GATE_SIGMAS * math.sqrt(self._pp + self._stamp_variance)

    def sigma_after_ns(self, elapsed_ns: float) -> float:
        """One standard deviation of the phase some time after the last stamp."""
        walk = _RATE_WALK_PER_SQRT_S**2 * elapsed_ns**3 / (3 * _NS_PER_S)
        spread = self._pp + 2 * elapsed_ns * self._pr + elapsed_ns**2 * self._rr
        return math.sqrt(spread + walk)

    def predict(self, sensor_ns: float) -> None:
        """Advance by ``sensor_ns`` of the sensor's nominal time."""
        self._elapsed_ns = sensor_ns
        self.phase_ns += sensor_ns * (1 + self.rate)
        self._pp += sensor_ns * (2 * self._pr + sensor_ns * self._rr) + _PHASE_NOISE_NS**2
        self._pr += sensor_ns * self._rr
        self._rr += _RATE_WALK_PER_SQRT_S**2 * sensor_ns / _NS_PER_S

    def shift(self, offset_ns: float) -> None:
        """Follow a jump of the phase; the rate is still known."""
        self.phase_ns += offset_ns
        self._pp = self._stamp_variance
        self._pr = self._bias = 0.0

    def start(self, innovation_ns: float) -> bool:
        """Take in one of the first stamps; tell whether it was one, and the filter is to wait."""
        if len(self._first) >= _START_FRAMES:
            return False
        before_ns = self._middle_of_first()
        self._first.append(before_ns + innovation_ns)
        self.phase_ns += self._middle_of_first() - before_ns
        self._begin_filter()
        return True

    def _middle_of_first(self) -> float:
        return sorted(self._first)[(len(self._first) - 1) // 2]

    def learn_noise(self, innovation_ns: float) -> None:
        """Let the stamp noise follow the median change between innovations (stochastic median).

        Changes, because a filter that lags behind has innovations that are large but alike.
        """
        change_ns = abs(innovation_ns - self._last_innovation_ns) / math.sqrt(2)
        self._last_innovation_ns = innovation_ns
        self._learned += 1
        step = max(_LEARNING_STEP, 1 / self._learned)
        wider = change_ns > _MEDIAN_OF_NORMAL * math.sqrt(self._pp + self._stamp_variance)
        sigma_ns = self.stamp_sigma_ns * (1 + step if wider else 1 / (1 + step))
        low, high = _STAMP_NOISE_RANGE_NS
        self._stamp_variance = min(max(sigma_ns, low), high) ** 2

    def update(self, innovation_ns: float) -> None:
        """Take in a stamp that lies this far from the prediction."""
        total = self._pp + self._stamp_variance
        gain, rate_gain = self._pp / total, self._pr / total
        self.phase_ns += gain * innovation_ns
        self.rate += rate_gain * innovation_ns
        self._rr -= rate_gain * self._pr
        self._pr -= gain * self._pr
        self._pp -= gain * self._pp
        self._watch_bias(innovation_ns, math.sqrt(total))

    def _watch_bias(self, innovation_ns: float, sigma_ns: float) -> None:
        """Open the filter when its innovations lean to one side: it lags, in phase or in rate."""
        self._bias += _BIAS_MEMORY * (innovation_ns - self._bias)
        if abs(self._bias) > _BIAS_LIMIT * sigma_ns:
            self._pp += self._bias**2
            self._rr += (self._bias * _BIAS_MEMORY / self._elapsed_ns) ** 2
            self._bias = 0.0
