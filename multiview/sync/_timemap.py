"""Time maps that follow a clock whose rate changes, and how to find them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from multiview.errors import SyncConfigError

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]

OUTLIER_SIGMAS = 4.0
"""A pair further off than this many robust standard deviations is a wrong match."""
MAD_TO_SIGMA = 1.4826
"""Median absolute deviation to standard deviation of a normal distribution."""


class TimeMap(Protocol):
    """From a source's clock to the common timeline, and back: a timeline or a bent one."""

    def at(self, source_ns: int, row: float = 0.0) -> int:
        """Instant on the common timeline of a frame's row."""
        ...

    def source_time(self, instant_ns: int, row: float = 0.0) -> int:
        """Inverse of ``at``."""
        ...

    def sigma_ns(self, source_ns: int, row: float = 0.0) -> float:
        """Standard deviation of ``at``."""
        ...


@dataclass(frozen=True)
class BentTimeMap:
    """Straight lines between knots: for drift that varies with time, re-synchronised at each knot.

    Before the first and after the last knot the nearest line goes on. Knots are strictly
    increasing pairs (source time, common time), at least two.
    """

    source_ns: Int64
    instant_ns: Int64
    knot_sigma_ns: float = 0.0

    def __post_init__(self) -> None:
        if len(self.source_ns) < 2 or len(self.source_ns) != len(self.instant_ns):
            raise SyncConfigError("a bent time map needs two or more pairs of times")
        if (np.diff(self.source_ns) <= 0).any() or (np.diff(self.instant_ns) <= 0).any():
            raise SyncConfigError("the pairs of a bent time map must increase in both times")

    def at(self, source_ns: int, row: float = 0.0) -> int:  # noqa: ARG002 - no line time known
        """Instant on the common timeline of a frame."""
        return _along(self.source_ns, self.instant_ns, source_ns)

    def source_time(self, instant_ns: int, row: float = 0.0) -> int:  # noqa: ARG002
        """Inverse of ``at``."""
        return _along(self.instant_ns, self.source_ns, instant_ns)

    def sigma_ns(self, source_ns: int, row: float = 0.0) -> float:  # noqa: ARG002
        """Standard deviation; beyond the knots it grows with the distance."""
        span = int(self.source_ns[-1] - self.source_ns[0])
        outside = max(int(self.source_ns[0]) - source_ns, source_ns - int(self.source_ns[-1]), 0)
        return hypot(self.knot_sigma_ns, self.knot_sigma_ns * 2 * outside / span)


@dataclass(frozen=True)
class Drift:
    """How a source's clock runs against the common timeline."""

    time_map: BentTimeMap
    """The correction: a straight line where the drift is steady, bent where it is not."""
    drift_ppm: float
    """Mean rate error: parts per million by which the common timeline runs faster."""
    window_ppm: tuple[float, ...]
    """The same within each window; differs from the mean where the drift varies."""
    residual_ns: float
    """Robust standard deviation of the pairs about the correction."""
    outliers: int
    """Pairs that were left out as wrong."""


def detect_drift(
    source_ns: Sequence[int] | Int64, common_ns: Sequence[int] | Int64, *, windows: int = 1
) -> Drift:
    """Fit a source's clock from moments seen in both clocks, robust against wrong pairs.

    Args:
        source_ns: times on the source's clock, in nanoseconds.
        common_ns: the same moments on the common timeline.
        windows: pieces of equal length with a rate of their own; 1 for a steady drift.

    Raises:
        SyncConfigError: fewer than three pairs per window, or times that do not increase.
    """
    source, common = np.asarray(source_ns, np.int64), np.asarray(common_ns, np.int64)
    if len(source) != len(common) or windows < 1 or len(source) < 3 * windows:
        raise SyncConfigError(f"{len(source)} pairs of times do not carry {windows} windows")
    knots = np.linspace(0.0, float(source.max() - source.min()), windows + 1)
    if knots[-1] <= 0:
        raise SyncConfigError("all pairs have the same time: no rate can be told")
    elapsed = (source - source.min()).astype(np.float64)
    late = ((common - common.min()) - (source - source.min())).astype(np.float64)
    shape = _hat_functions(elapsed, knots)
    offsets, inliers = _robust_fit(shape, late)
    sigma = _robust_sigma(late[inliers] - shape[inliers] @ offsets)
    at_knots = source.min() + np.rint(knots).astype(np.int64)
    instants = at_knots - source.min() + common.min() + np.rint(offsets).astype(np.int64)
    rates = np.diff(offsets) / np.diff(knots) * 1e6
    return Drift(
        BentTimeMap(at_knots, instants, sigma / float(np.sqrt(inliers.sum() / (windows + 1)))),
        drift_ppm=float((offsets[-1] - offsets[0]) / knots[-1] * 1e6),
        window_ppm=tuple(float(rate) for rate in rates),
        residual_ns=sigma,
        outliers=int((~inliers).sum()),
    )


def _along(from_ns: Int64, to_ns: Int64, time_ns: int) -> int:
    """Linear inter- and extrapolation that keeps the large parts of times in integers."""
    piece = int(np.clip(np.searchsorted(from_ns, time_ns, side="right") - 1, 0, len(from_ns) - 2))
    start, end = int(from_ns[piece]), int(from_ns[piece + 1])
    rise = int(to_ns[piece + 1]) - int(to_ns[piece])
    return int(to_ns[piece]) + round((time_ns - start) * (rise / (end - start)))


def _hat_functions(x: Float64, knots: Float64) -> Float64:
    """Columns of a linear spline: each is 1 at its knot and 0 at all others."""
    return np.stack([np.interp(x, knots, unit) for unit in np.eye(len(knots))], axis=1)


def _robust_fit(shape: Float64, values: Float64) -> tuple[Float64, NDArray[np.bool_]]:
    """Least absolute deviations by reweighting, then least squares over the inliers."""
    weights = np.ones(len(values))
    fit: Float64 = np.zeros(shape.shape[1])
    for _ in range(30):
        root = np.sqrt(weights)[:, None]
        fit = _least_squares(shape * root, values * root[:, 0])
        weights = 1 / np.maximum(np.abs(values - shape @ fit), 1.0)
    residuals = values - shape @ fit
    inliers = np.abs(residuals) <= OUTLIER_SIGMAS * max(_robust_sigma(residuals), 1.0)
    return _least_squares(shape[inliers], values[inliers]), inliers


def _least_squares(shape: Float64, values: Float64) -> Float64:
    return np.asarray(np.linalg.lstsq(shape, values, rcond=None)[0], dtype=np.float64)


def _robust_sigma(residuals: Float64) -> float:
    return float(MAD_TO_SIGMA * np.median(np.abs(residuals - np.median(residuals))))
