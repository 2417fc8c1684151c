"""How well a read of several cameras fits together."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from multiview.sync._frameset import FrameSet

NS_PER_MS = 1e6
_NUMBERS = re.compile(r"\d[\d.]*")
"""Numbers are left out of reasons, so that equal reasons are counted together."""


@dataclass
class SetStatistics:
    """Counts and spreads over frame sets, fed one after the other; no picture is kept."""

    sets: int = 0
    complete: int = 0
    """Sets in which every camera has a usable frame."""
    valid: Counter[str] = field(default_factory=Counter)
    """Usable frames per camera."""
    reasons: dict[str, Counter[str]] = field(default_factory=dict)
    """Why frames were not usable, per camera."""
    skews_ns: list[int] = field(default_factory=list)
    """Latest minus earliest time of each complete set."""
    uncertainty_ns: int = 0
    """The largest standard deviation of any frame's time."""

    def add(self, found: FrameSet) -> None:
        """Count one set."""
        self.sets += 1
        usable = found.valid
        self.valid.update(usable.keys())
        for camera, frame in found.frames.items():
            if not frame.is_valid:
                self.reasons.setdefault(camera, Counter())[_NUMBERS.sub("…", frame.reason)] += 1
        if len(usable) == len(found.frames):
            self.complete += 1
            self.skews_ns.append(found.skew_ns)
        self.uncertainty_ns = max(self.uncertainty_ns, found.uncertainty_ns)

    def skew_ms(self) -> dict[str, float]:
        """Skew of the complete sets in milliseconds: p50, p99, max; empty if there are none."""
        if not self.skews_ns:
            return {}
        skews = np.array(self.skews_ns) / NS_PER_MS
        p50, p99 = np.percentile(skews, [50, 99])
        return {"p50": float(p50), "p99": float(p99), "max": float(skews.max())}

    @classmethod
    def of(cls, sets: Iterable[FrameSet]) -> SetStatistics:
        """Read all sets and count them."""
        statistics = cls()
        for found in sets:
            statistics.add(found)
        return statistics
