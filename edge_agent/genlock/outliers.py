"""Late interrupts or a sensor that has moved? What a run of rejected stamps means."""

import math
from collections import deque
from typing import NamedTuple

_SHORTEST_RUN = 4  # agreeing outliers that are taken for a jump; frames
_LONGEST_RUN = 20
_LOST_RUN = 30  # outliers in a row that never agree: the track is lost
_AGREEING = 0.75  # share of the run that must agree; the others may be late interrupts
_FALSE_JUMP = 1e-8  # chance per frame that tails alone make a run: once in 38 days at 30 fps
_RATE_START = 0.005  # half of what a busy Pi shows; a run of four is enough up to 1 %
_RATE_MEMORY = 1 / 256


class Verdict(NamedTuple):
    """What the run of outliers means so far."""

    jump_ns: float | None
    """The sensor has moved by this much."""
    lost: bool
    """The stamps make no sense for so long that estimation must begin again."""


class OutlierRun:
    """Consecutive rejected stamps, and how common outliers are on this machine."""

    def __init__(self) -> None:
        self._run: deque[float] = deque(maxlen=_LOST_RUN)
        self._rate = _RATE_START

    def clear(self) -> None:
        """End the run: a stamp was believed, or estimation began again."""
        self._rate -= _RATE_MEMORY * self._rate
        self._run.clear()

    def add(self, innovation_ns: float, gate_ns: float) -> Verdict:
        """Note an outlier; the run goes on until it is cleared."""
        needed = self._needed()
        self._rate += _RATE_MEMORY * (1 - self._rate)
        self._run.append(innovation_ns)
        return self._judge(needed, gate_ns)

    def _needed(self) -> int:
        """Return the length of run that tails of the observed frequency hardly ever make."""
        length = math.ceil(math.log(_FALSE_JUMP) / math.log(min(max(self._rate, 1e-6), 0.9)))
        return min(max(length, _SHORTEST_RUN), _LONGEST_RUN)

    def _judge(self, needed: int, gate_ns: float) -> Verdict:
        if len(self._run) >= needed:
            recent = sorted(list(self._run)[-needed:])
            jump_ns = recent[(needed - 1) // 2]  # of two middle ones the earlier: tails are late
            agreeing = sum(abs(residual - jump_ns) <= gate_ns for residual in recent)
            if agreeing >= _AGREEING * needed:
                return Verdict(jump_ns, lost=False)
        return Verdict(None, lost=len(self._run) >= _LOST_RUN)
