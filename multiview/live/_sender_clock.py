"""The clock that a sender's reports tell: fitted, checked for consistency, watched for jumps."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from multiview.live._reports import ClockPoint
from multiview.live._stamp import ClockState, Stamp, Timing
from multiview.timeline import Evidence, Timeline, as_covariance

REPORTS_KEPT = 32
"""At the usual 5 s between reports 160 s: long enough for the rate, short enough for its wander."""
PRIOR_NOISE_NS = 500_000.0
"""Of a report, before it is known: cameras read their clock some 0.1 ms beside the stamp."""
PRIOR_WEIGHT = 3.0
"""How many reports the prior noise counts for."""
PRIOR_DRIFT = 1e-4
"""Standard deviation of a crystal's rate before it is known: the worst are good to 100 ppm."""
TICK_NOISE_NS = 3_208.0
"""Rounding to ticks of 90 kHz: 11.1 µs / √12."""
JUMP_NS = 5_000_000
"""Smaller steps pass for noise and are followed by the fit."""
SLEW = 5e-4
"""A disciplined clock may be slewed by as much (adjtime(3)): between reports that is no jump."""
PLAUSIBLE_LATENCY_NS = 2_000_000_000
"""From capture to arrival on a network that is good for live pictures."""
FINDINGS_KEPT = 64


class Verdict(StrEnum):
    """What was done about contradicting reports."""

    OUTLIER = "outlier"
    """a single wrong report: ignored"""
    FOLLOWED = "followed"
    """the clock was set right: its new time counts from now on"""
    HELD = "held"
    """the clock was set wrong: its earlier time is carried on"""
    RETURNED = "returned"
    """a clock that was set wrong is right again"""


@dataclass(frozen=True, slots=True)
class ClockFinding:
    """One contradiction between sender reports, and how it was settled."""

    source_ns: int
    """Stream time of the report that settled it."""
    step_ns: int
    """New minus earlier time."""
    verdict: Verdict


class SenderClock:
    """Turns stream times into the sender's UTC.

    Two reports that agree with each other and not with the clock so far make a jump. Whether to
    follow it is told by the latency that each time implies: the more plausible one counts. This
    takes a receiver with a disciplined clock.
    """

    def __init__(self) -> None:
        self.timeline: Timeline | None = None
        self.findings: deque[ClockFinding] = deque(maxlen=FINDINGS_KEPT)
        self.epoch = 0
        self._points: deque[ClockPoint] = deque(maxlen=REPORTS_KEPT)
        self._doubt: ClockPoint | None = None
        self._held_ns = 0

    @property
    def state(self) -> ClockState:
        """Whether the reports agree."""
        if self._doubt is not None:
            return ClockState.IN_DOUBT
        return ClockState.HELD if self._held_ns else ClockState.STEADY

    def add(self, point: ClockPoint, arrival_offset_ns: int) -> None:
        """Take a report; ``arrival_offset_ns`` is a frame's arrival (UTC) minus its stream time."""
        if self.timeline is None or self._agrees(self._held(point)):
            self._accept(self._held(point))
        elif self._held_ns and self._agrees(point):
            self._find(point, Verdict.RETURNED)
            self._held_ns = 0
            self._accept(point)
        elif self._doubt is not None and _consistent(self._doubt, point):
            self._settle_jump(point, arrival_offset_ns)
        else:
            self._replace_doubt(point)

    def stamp(self, source_ns: int) -> Stamp:
        """The sender's time at a stream time; the clock must have had a report."""
        if self.timeline is None:
            raise ValueError("no sender report yet")
        bound = self.timeline.bound_ns(source_ns)
        if self._doubt is not None:
            bound += abs(self._error_ns(self._held(self._doubt)))
        time_ns = self.timeline.at(source_ns)
        return Stamp(time_ns, round(bound), Timing.SENDER_REPORT, self.state, self.epoch)

    def _held(self, point: ClockPoint) -> ClockPoint:
        return ClockPoint(point.source_ns, point.utc_ns - self._held_ns)

    def _error_ns(self, point: ClockPoint) -> int:
        return 0 if self.timeline is None else point.utc_ns - self.timeline.at(point.source_ns)

    def _agrees(self, point: ClockPoint) -> bool:
        return abs(self._error_ns(point)) <= _allowance_ns(self._points[-1], point)

    def _accept(self, point: ClockPoint) -> None:
        if self._doubt is not None:
            self._find(self._held(self._doubt), Verdict.OUTLIER)
            self._doubt = None
        self._points.append(point)
        self.timeline = fit(self._points)

    def _replace_doubt(self, point: ClockPoint) -> None:
        if self._doubt is not None:
            self._find(self._held(self._doubt), Verdict.OUTLIER)
        self._doubt = point

    def _settle_jump(self, point: ClockPoint, arrival_offset_ns: int) -> None:
        """Two reports agree on a new time: follow them, or hold the time so far."""
        step_ns = self._error_ns(self._held(point))
        new_latency_ns = point.source_ns + arrival_offset_ns - point.utc_ns
        follow = implausibility_ns(new_latency_ns) <= implausibility_ns(
            new_latency_ns + step_ns + self._held_ns
        )
        self._find(self._held(point), Verdict.FOLLOWED if follow else Verdict.HELD)
        doubt, self._doubt = self._doubt, None
        if follow:
            self.epoch += 1
            self._held_ns = 0
            self._points.clear()
        else:
            self._held_ns += step_ns
        for witness in (doubt, point):
            if witness is not None:
                self._accept(self._held(witness))

    def _find(self, point: ClockPoint, verdict: Verdict) -> None:
        self.findings.append(ClockFinding(point.source_ns, self._error_ns(point), verdict))


def fit(points: Sequence[ClockPoint]) -> Timeline:
    """Fit offset and drift to reports, with a prior on noise and drift; origin at the last one.

    Bayesian linear regression: a single report gives a usable clock, many give a sharp one.
    """
    last = points[-1]
    elapsed = np.array([float(point.source_ns - last.source_ns) for point in points])
    offsets = np.array(
        [float((p.utc_ns - last.utc_ns) - (p.source_ns - last.source_ns)) for p in points]
    )
    design = np.column_stack([np.ones_like(elapsed), elapsed / PRIOR_NOISE_NS])
    prior = np.diag([0.0, PRIOR_DRIFT**-2])  # in units of the prior noise
    normal = design.T @ design + prior
    solution = np.linalg.solve(normal, design.T @ (offsets / PRIOR_NOISE_NS))
    residuals = offsets / PRIOR_NOISE_NS - design @ solution
    degrees = PRIOR_WEIGHT + len(points) - design.shape[1]  # what the fit itself did not use up
    noise = (PRIOR_WEIGHT + residuals @ residuals) / degrees
    scale = np.diag([PRIOR_NOISE_NS, 1.0, 0.0])[:, :2]
    covariance = noise * scale @ np.linalg.inv(normal) @ scale.T
    covariance[0, 0] += TICK_NOISE_NS**2
    return Timeline(
        origin_ns=last.source_ns,
        at_origin_ns=last.utc_ns + round(float(solution[0]) * PRIOR_NOISE_NS),
        drift=float(solution[1]),
        covariance=as_covariance(covariance),
        evidence=Evidence.RTCP,
    )


def implausibility_ns(latency_ns: int) -> int:
    """How far a latency is from what a live stream may have."""
    return max(-latency_ns, latency_ns - PLAUSIBLE_LATENCY_NS, 0)


def _allowance_ns(earlier: ClockPoint, later: ClockPoint) -> float:
    return JUMP_NS + SLEW * abs(later.source_ns - earlier.source_ns)


def _consistent(earlier: ClockPoint, later: ClockPoint) -> bool:
    step = (later.utc_ns - earlier.utc_ns) - (later.source_ns - earlier.source_ns)
    return abs(step) <= _allowance_ns(earlier, later)
