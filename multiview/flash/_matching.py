"""Which flashes of two cameras are the same, found without any hand-set first event.

Every pair of flashes suggests an offset, and each offset is judged by how many other flashes it
explains. What is expected of chance is computed: the number of false alarms (NFA) is the number
of offsets tried times the probability that unrelated flashes agree as well. It is the
a-contrario reasoning of Desolneux, Moisan and Morel, "From Gestalt Theory to Image Analysis", 2008.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

TOLERANCE_SIGMAS = 3.0
SLACK_NS = 2e6  # light curves and rough edges
MAX_LOG10_NFA = -3.0  # a thousandth of a wrong alignment expected
RIVAL_LOG10_NFA = -1.0  # another alignment that chance would bring in one of ten videos
RIVAL_SHARE = 0.6  # of the flashes that the best one explains where both cameras filmed
RIVAL_COUNT = 0.5  # of the number of flashes that the best one explains
KEPT = 20  # alignments looked at after the first count


@dataclass(frozen=True)
class EventTimes:
    """Rough times of flashes (ns, ascending) and the span that was filmed."""

    times_ns: Float64
    sigmas_ns: Float64
    start_ns: float
    end_ns: float


@dataclass(frozen=True)
class Window:
    """Offsets that somebody knows to contain the right one."""

    offset_ns: float
    half_width_ns: float


@dataclass(frozen=True)
class Alignment:
    """A way to lay one camera's flashes on another's."""

    offset_ns: float
    """what to add to the first's time, at ``origin_ns``, to get the second's"""
    drift: float
    origin_ns: float
    pairs: tuple[tuple[int, int], ...]
    """indices of flashes that fall together"""
    in_overlap: int
    """flashes either camera saw while both filmed, of the camera with fewer"""
    log10_nfa: float

    @property
    def share(self) -> float:
        """Part of the flashes that is explained, where both cameras filmed."""
        return len(self.pairs) / max(self.in_overlap, 1)

    def offset_at(self, time_ns: float) -> float:
        """Return the offset at a time of the first camera."""
        return self.offset_ns + self.drift * (time_ns - self.origin_ns)


def alignments(
    one: EventTimes, two: EventTimes, max_drift: float, near: Window | None = None
) -> list[Alignment]:
    """Return distinct alignments of two cameras' flashes, the least accidental first.

    ``near`` restricts the offsets (in the middle of the first's flashes) that are tried.
    """
    if not (len(one.times_ns) and len(two.times_ns)):
        return []
    tolerance = _tolerance(one, two)
    drifts = _drift_grid(one, max_drift, float(np.median(tolerance)))
    seeds = _seeds(one, two, drifts)
    middle = (one.times_ns[0] + one.times_ns[-1]) / 2
    if near is not None:
        offsets = seeds[:, 1] + seeds[:, 2] * (middle - seeds[:, 0])
        seeds = seeds[np.abs(offsets - near.offset_ns) <= near.half_width_ns]
    counts = _count(one, two, tolerance, seeds)
    apart = 2 * float(tolerance.max()) + max_drift * (one.times_ns[-1] - one.times_ns[0])
    best: list[Alignment] = []
    for index in _distinct(seeds, counts, middle, apart):
        best.append(_judge(one, two, tolerance, seeds[index], tests=len(seeds)))
    return sorted(best, key=lambda a: a.log10_nfa)


def rivals(ranked: Sequence[Alignment]) -> list[Alignment]:
    """Return the alternatives that explain nearly as much as the best."""
    best, *others = ranked
    return [
        other
        for other in others
        if other.log10_nfa < RIVAL_LOG10_NFA
        and other.share >= RIVAL_SHARE * best.share
        and len(other.pairs) >= RIVAL_COUNT * len(best.pairs)
    ]


def _tolerance(one: EventTimes, two: EventTimes) -> Float64:
    """n×m: how far two flashes may lie apart and still be one."""
    variance = one.sigmas_ns[:, None] ** 2 + two.sigmas_ns[None, :] ** 2
    return TOLERANCE_SIGMAS * np.sqrt(variance) + SLACK_NS


def _drift_grid(one: EventTimes, max_drift: float, tolerance: float) -> Float64:
    """Drifts so close that none in between moves a flash by more than the tolerance."""
    span = max(one.times_ns[-1] - one.times_ns[0], 1.0)
    steps = int(np.ceil(max_drift * span / tolerance))
    return np.linspace(-max_drift, max_drift, 2 * steps + 1)


def _seeds(one: EventTimes, two: EventTimes, drifts: Float64) -> Float64:
    """S×3: time of the first camera's flash, offset there, drift."""
    times, others, rates = np.meshgrid(one.times_ns, two.times_ns, drifts, indexing="ij")
    return np.stack([times.ravel(), (others - times).ravel(), rates.ravel()], axis=1)


def _predicted(one: EventTimes, seed: Float64) -> Float64:
    """Times of the first camera's flashes on the second's clock; seed may be S×3."""
    origin, offset, drift = (seed[..., k, None] for k in range(3))
    moved: Float64 = one.times_ns + offset + drift * (one.times_ns - origin)
    return moved


def _nearest(times: Float64, wanted: Float64) -> Int64:
    after = np.clip(np.searchsorted(times, wanted), 1, max(len(times) - 1, 1))
    before = after - 1
    after = np.minimum(after, len(times) - 1)
    return np.where(wanted - times[before] <= times[after] - wanted, before, after)


def _count(one: EventTimes, two: EventTimes, tolerance: Float64, seeds: Float64) -> Int64:
    counts = np.empty(len(seeds), dtype=np.int64)
    rows = np.arange(len(one.times_ns))
    for part in np.array_split(np.arange(len(seeds)), 1 + len(seeds) * len(rows) // 1_000_000):
        wanted = _predicted(one, seeds[part])
        nearest = _nearest(two.times_ns, wanted)
        hits = np.abs(two.times_ns[nearest] - wanted) <= tolerance[rows, nearest]
        counts[part] = hits.sum(axis=1)
    return counts


def _distinct(seeds: Float64, counts: Int64, middle: float, apart: float) -> Iterator[int]:
    """Yield the best-counted seeds, none close to one before it."""
    offsets = seeds[:, 1] + seeds[:, 2] * (middle - seeds[:, 0])
    taken: list[float] = []
    for index in np.argsort(-counts, kind="stable"):
        if all(abs(offsets[index] - other) > apart for other in taken):
            taken.append(float(offsets[index]))
            yield int(index)
            if len(taken) == KEPT:
                return


def _judge(
    one: EventTimes, two: EventTimes, tolerance: Float64, seed: Float64, tests: int
) -> Alignment:
    pairs = _pairs(one, two, tolerance, seed)
    residuals = [two.times_ns[j] - _predicted(one, seed)[i] for i, j in pairs]
    origin, offset, drift = (float(value) for value in seed)
    centred = np.array([origin, offset + float(np.median(residuals)), drift])
    recount = _pairs(one, two, tolerance, centred)
    if len(recount) >= len(pairs):
        seed, pairs = centred, recount
    wanted = _predicted(one, seed)
    begin = max(two.start_ns, float(seed[1]) + one.start_ns)
    end = min(two.end_ns, float(seed[1]) + one.end_ns)
    here = int(((wanted >= begin) & (wanted <= end)).sum())
    there = int(((two.times_ns >= begin) & (two.times_ns <= end)).sum())
    width = 2 * float(np.mean(tolerance)) / max(end - begin, 1.0)
    chance = 1 - (1 - min(width, 1.0)) ** max(here, there)
    few = max(min(here, there), len(pairs))
    log_tail = float(
        binom.logsf(len(pairs) - 2, max(few - 1, 1), chance)
    )  # one pair set the offset
    return Alignment(
        float(seed[1]),
        float(seed[2]),
        float(seed[0]),
        tuple(pairs),
        few,
        float((np.log(tests) + log_tail) / np.log(10)),
    )


def _pairs(
    one: EventTimes, two: EventTimes, tolerance: Float64, seed: Float64
) -> list[tuple[int, int]]:
    """One-to-one matches under a seed, the nearest first."""
    distance = np.abs(_predicted(one, seed)[:, None] - two.times_ns[None, :])
    distance[distance > tolerance] = np.inf
    pairs: list[tuple[int, int]] = []
    while np.isfinite(distance).any():
        i, j = np.unravel_index(np.argmin(distance), distance.shape)
        pairs.append((int(i), int(j)))
        distance[i, :] = distance[:, j] = np.inf
    return sorted(pairs)
