"""Which frames of several cameras belong together: decided from their times alone.

The slowest camera sets the pace: each of its frames is the tick of one match. For every other
camera the frames next to the tick are candidates, and of these the combination with the least
spread is chosen. With two cameras, or with rates of which the slowest is at most two thirds of
the next, the spread is so at most half a frame of the slowest. A camera without a frame within
half a frame of the tick has none in this match.

A match waits for a camera no longer than its frames usually take (their largest recent delay)
plus a grace. So a camera that stalls costs the others nothing but that wait.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median_low
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")

INTERVALS_KEPT = 32
"""Frames that a camera's period and delay are learnt from: about a second."""
SLACK = 0.1
"""Of a period: how far frame times may jitter about it, and periods differ and still be equal."""
REACH = 0.51
"""Of the slowest camera's period: how far from the tick a frame may be. Half, and some jitter."""
LOST_PERIODS = 1.5
"""Frames farther apart have one lost between them."""


@dataclass(frozen=True, slots=True)
class Timed(Generic[ItemT]):
    """A frame and its time."""

    time_ns: int
    item: ItemT


@dataclass(frozen=True, slots=True)
class Match(Generic[ItemT]):
    """Frames that belong together, None for a camera that has none."""

    tick_ns: int
    frames: tuple[Timed[ItemT] | None, ...]


class Lane(Generic[ItemT]):
    """One camera's waiting frames, its period and its delay."""

    def __init__(self, capacity: int) -> None:
        self.frames: deque[Timed[ItemT]] = deque()
        self.live = True
        self.capacity = capacity
        """how many frames wait at most; the oldest give way"""
        self._intervals: deque[int] = deque(maxlen=INTERVALS_KEPT)
        self._latencies: deque[int] = deque(maxlen=INTERVALS_KEPT)
        self._delays: deque[int] = deque(maxlen=INTERVALS_KEPT)
        self._newest_ns: int | None = None

    def restart(self) -> None:
        """Forget times that do not compare to those to come."""
        self.frames.clear()
        self._latencies.clear()
        self._delays.clear()
        self._newest_ns = None

    def push(self, time_ns: int, item: ItemT, arrival_ns: int, now_ns: int) -> None:
        """Append a frame, unless it is not newer than the last."""
        newest_ns = self._newest_ns
        if newest_ns is not None and time_ns <= newest_ns:
            return
        if newest_ns is not None:
            self._intervals.append(time_ns - newest_ns)
        self._latencies.append(arrival_ns - time_ns)
        self._delays.append(now_ns - time_ns)
        self._newest_ns = time_ns
        self.frames.append(Timed(time_ns, item))
        if len(self.frames) > self.capacity:
            self.frames.popleft()

    @property
    def period_ns(self) -> int | None:
        """Usual time between frames; None before the second."""
        return median_low(self._intervals) if self._intervals else None

    @property
    def latency_ns(self) -> int | None:
        """Arrival minus time of the frame that waited least; None before the first."""
        return min(self._latencies, default=None)

    def is_due(self, time_ns: int, now_ns: int, grace_ns: int) -> bool:
        """Whether a frame of this time should have come by now."""
        return bool(self._delays) and now_ns > time_ns + max(self._delays) + grace_ns

    def has_reached(self, time_ns: int) -> bool:
        """Whether all frames up to this time are there."""
        return self._newest_ns is not None and self._newest_ns >= time_ns

    def drop_before(self, time_ns: int) -> None:
        """Let go of frames that no later match can use."""
        while self.frames and self.frames[0].time_ns < time_ns:
            self.frames.popleft()

    def around(
        self, tick_ns: int, reach_ns: int
    ) -> tuple[Timed[ItemT] | None, Timed[ItemT] | None]:
        """The last frame up to a tick and the first after it, if they are within reach."""
        before = after = None
        for frame in self.frames:
            if frame.time_ns > tick_ns:
                after = frame if frame.time_ns <= tick_ns + reach_ns else None
                break
            before = frame if frame.time_ns >= tick_ns - reach_ns else None
        return before, after


class Matcher(Generic[ItemT]):
    """Collects frames of all cameras and gives out matches, in order of time.

    Frame times are on the cameras' common clock, arrivals and ``now_ns`` on the receiver's, which
    may be any: only the delays between the two are compared.
    """

    def __init__(self, cameras: int, grace_ns: int, capacity: int = 256) -> None:
        self.lanes = tuple(Lane[ItemT](capacity) for _ in range(cameras))
        self._grace_ns = grace_ns
        self._pacer: int | None = None
        self._tick_ns: int | None = None

    def push(
        self, camera: int, time_ns: int, item: ItemT, arrival_ns: int, now_ns: int | None = None
    ) -> None:
        """Take a camera's next frame; it is live from then on.

        A frame that was held back after its arrival is handed over later, at ``now_ns``.
        """
        lane = self.lanes[camera]
        lane.live = True
        lane.push(time_ns, item, arrival_ns, arrival_ns if now_ns is None else now_ns)

    def restart(self, camera: int) -> None:
        """A camera's times start anew (it reconnected, or its clock was set)."""
        self.lanes[camera].restart()
        if camera == self._pacer:
            self._pacer = self._tick_ns = None

    def lose(self, camera: int) -> None:
        """Wait for this camera no more until it has a frame again."""
        self.lanes[camera].live = False
        self.lanes[camera].restart()

    def offset_ns(self) -> int:
        """How far the cameras' times are apart for frames that arrive together."""
        latencies = [lane.latency_ns for lane in self.lanes if lane.live]
        return spread_ns([latency for latency in latencies if latency is not None])

    @property
    def is_complete(self) -> bool:
        """Whether every live camera has had a frame."""
        return all(lane.latency_ns is not None for lane in self.lanes if lane.live)

    def next_match(self, now_ns: int) -> Match[ItemT] | None:
        """The next match if it is complete or overdue at ``now_ns``."""
        pacer = self._choose_pacer()
        if pacer is None:
            return None
        period_ns = self.lanes[pacer].period_ns or 0
        tick_ns = self._next_tick(self.lanes[pacer], period_ns, now_ns)
        if tick_ns is None or not all(self._is_ready(x, tick_ns, now_ns) for x in self.lanes):
            return None
        return self._match(pacer, tick_ns, round(period_ns * REACH))

    def _choose_pacer(self) -> int | None:
        """The slowest live camera; the present one unless another is clearly slower."""
        periods = {n: lane.period_ns for n, lane in enumerate(self.lanes) if lane.live}
        known = {n: period for n, period in periods.items() if period is not None}
        if not known or len(known) < len(periods):
            return None
        slowest = max(known, key=lambda n: known[n])
        present = self._pacer
        if present not in known or known[slowest] > known[present] * (1 + SLACK):
            self._pacer = slowest
        return self._pacer

    def _next_tick(self, pacer: Lane[ItemT], period_ns: int, now_ns: int) -> int | None:
        """The pacer's next frame; where one is lost or overdue, the time it should have had."""
        last_ns = self._tick_ns
        if last_ns is None:
            pacer.drop_before(max((x.frames[0].time_ns for x in self.lanes if x.frames), default=0))
            return pacer.frames[0].time_ns if pacer.frames else None
        pacer.drop_before(last_ns + round(period_ns * SLACK))
        expected_ns = last_ns + period_ns
        if pacer.frames and pacer.frames[0].time_ns - last_ns <= period_ns * LOST_PERIODS:
            return pacer.frames[0].time_ns
        if not pacer.frames and not pacer.is_due(expected_ns, now_ns, self._grace_ns):
            return None
        return self._after_gap(expected_ns, period_ns)

    def _after_gap(self, expected_ns: int, period_ns: int) -> int | None:
        """Go on at the expected tick, or at the first frame there is if that is later still."""
        fronts = [lane.frames[0].time_ns for lane in self.lanes if lane.frames]
        if not fronts:
            return None
        first_ns = min(fronts)
        return expected_ns if first_ns <= expected_ns + period_ns // 2 else first_ns

    def _is_ready(self, lane: Lane[ItemT], tick_ns: int, now_ns: int) -> bool:
        return (
            not lane.live
            or lane.has_reached(tick_ns)
            or lane.is_due(tick_ns, now_ns, self._grace_ns)
        )

    def _match(self, pacer: int, tick_ns: int, reach_ns: int) -> Match[ItemT]:
        candidates = [lane.around(tick_ns, reach_ns) for lane in self.lanes]
        before, _ = candidates[pacer]
        if before is not None and before.time_ns == tick_ns:
            candidates[pacer] = (before, None)
        chosen = closest_together(candidates, tick_ns)
        for lane, frame in zip(self.lanes, chosen, strict=True):
            lane.drop_before(tick_ns - reach_ns if frame is None else frame.time_ns + 1)
        self._tick_ns = tick_ns
        return Match(tick_ns, tuple(chosen))


def closest_together(
    candidates: Sequence[tuple[Timed[ItemT] | None, Timed[ItemT] | None]], tick_ns: int
) -> list[Timed[ItemT] | None]:
    """Of each camera's frames before and after a tick choose those with the least spread.

    As many cameras as possible have a frame; of equal spreads the one nearer to the tick counts.
    """
    lows = {tick_ns + 1} | {before.time_ns for before, _ in candidates if before is not None}

    def choice(low_ns: int) -> list[Timed[ItemT] | None]:
        return [
            before if after is None or (before and before.time_ns >= low_ns) else after
            for before, after in candidates
        ]

    def cost(chosen: list[Timed[ItemT] | None]) -> tuple[int, int, int]:
        times = [frame.time_ns for frame in chosen if frame is not None]
        distance = sum(abs(time_ns - tick_ns) for time_ns in times)
        return len(chosen) - len(times), spread_ns(times), distance

    return min((choice(low_ns) for low_ns in sorted(lows)), key=cost)


def spread_ns(times: Sequence[int]) -> int:
    """Latest minus earliest; 0 without any."""
    return max(times, default=0) - min(times, default=0)
