"""Late interrupts or a sensor that has moved? What rejected stamps mean together."""

import math
from collections import deque

_FEWEST = 4  # rejected stamps that can make a jump
_MOST = 20
_LOST_RUN = 30  # rejected in a row and never agreeing: the track is lost
_AGREEING = 0.75  # share of the rejected that must agree; the others may be late interrupts
_FALSE_JUMP = 1e-7  # chance per frame that tails make so many; that they agree is rarer still
_RATE_START = 0.005
_RATE_RANGE = (1e-6, 0.9)
_RATE_MEMORY = 1 / 1024  # frames


class OutlierWatch:
    """The last stamps that were rejected, and how common outliers are on this machine."""

    def __init__(self) -> None:
        self._recent: deque[float | None] = deque(maxlen=_MOST + 1)  # None: was believed
        self._in_a_row = 0
        self._rate = _RATE_START

    @property
    def lost(self) -> bool:
        """Whether the stamps have made no sense for so long that estimation must begin again."""
        return self._in_a_row >= _LOST_RUN

    def forget(self) -> None:
        """Begin again: the rejected stamps were followed after all, so they were no outliers."""
        self._recent.clear()
        self._in_a_row = 0

    def believed(self) -> None:
        """Note a stamp that was believed."""
        stamps = self._in_a_row + 1
        self._rate += _RATE_MEMORY * (self._in_a_row - stamps * self._rate)
        self._recent.append(None)
        self._in_a_row = 0

    def rejected(self, innovation_ns: float, gate_ns: float) -> float | None:
        """Note an outlier. Return the jump (ns) if the last ones agree on one.

        One stamp among them may have been believed: a tail that hit the old track by chance.
        """
        needed = self._needed()
        self._recent.append(innovation_ns)
        self._in_a_row += 1
        last = list(self._recent)[-needed - 1 :]
        outliers = sorted(innovation for innovation in last if innovation is not None)
        if len(outliers) < needed:
            return None
        jump_ns = outliers[(len(outliers) - 1) // 2]  # of two middle ones the earlier: tails lag
        agreeing = sum(abs(outlier - jump_ns) <= gate_ns for outlier in outliers)
        return jump_ns if agreeing >= _AGREEING * len(outliers) else None

    def _needed(self) -> int:
        """Return how many outliers tails of the observed frequency hardly ever make."""
        low, high = _RATE_RANGE
        rate = min(max(self._rate, low), high)
        return min(max(math.ceil(math.log(_FALSE_JUMP) / math.log(rate)), _FEWEST), _MOST)
