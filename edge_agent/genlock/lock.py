"""The lock state of a camera, from its phase error and from whether its stamps can be trusted."""

from capture_protocol.frame import LockState

_FRAMES_TO_LOCK = 4
_UNTRUSTED_FRAMES = 4  # a run of this many tails at 1 % happens once in years of recording
_LOOSE_SIGMA_LINES = 0.75  # a phase known worse than this is no lock, wherever it seems to be


class LockDetector:
    """free: nothing known; pulling: on the way; locked; holdover: coasting without stamps.

    Hysteresis: in within one line for four frames, out beyond two lines at once.
    """

    def __init__(self, line_time_ns: float) -> None:
        self.state = LockState.FREE
        self._line_time_ns = line_time_ns
        self._inside = 0
        self._untrusted = 0

    def reset(self) -> LockState:
        """Forget everything: the estimate was thrown away."""
        self._inside = self._untrusted = 0
        self.state = LockState.FREE
        return self.state

    def judge(
        self, error_ns: float, sigma_ns: float, trusted: bool, coming_ns: float = 0.0
    ) -> LockState:
        """Judge a frame: its estimated error, that estimate's σ, whether its stamp counted.

        ``coming_ns`` is the largest error that the commands on their way lead through: a sensor
        that a pull will take away again has no lock to report yet.
        """
        self._untrusted = 0 if trusted else self._untrusted + 1
        line_ns = self._line_time_ns
        loose = sigma_ns > max(_LOOSE_SIGMA_LINES * line_ns, 5_000.0)
        near = not loose and max(abs(error_ns), abs(coming_ns)) <= line_ns + 3 * sigma_ns
        far = loose or abs(error_ns) > 2 * line_ns + 5 * sigma_ns
        if near and trusted:
            self._inside += 1
        elif far:
            self._inside = 0
        self.state = self._next_state(far)
        return self.state

    def _next_state(self, far: bool) -> LockState:
        had_lock = self.state in (LockState.LOCKED, LockState.HOLDOVER)
        if self._untrusted >= _UNTRUSTED_FRAMES:
            self._inside = 0
            return LockState.HOLDOVER if had_lock else LockState.PULLING
        if far:
            return LockState.HOLDOVER if self._coasting() else LockState.PULLING
        if self._inside >= _FRAMES_TO_LOCK:
            return LockState.LOCKED
        return LockState.PULLING if self.state is LockState.FREE else self.state

    def _coasting(self) -> bool:
        return self.state is LockState.HOLDOVER and self._untrusted > 0
