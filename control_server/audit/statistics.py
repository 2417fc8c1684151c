"""Distributions of errors, in integer nanoseconds."""

import math

import numpy as np
import numpy.typing as npt

from control_server.audit.result import Spread

Nanoseconds = npt.NDArray[np.int64]
PPM = 1e6


def spread(errors_ns: Nanoseconds) -> Spread | None:
    """p50, p99 and maximum of the errors' size; None where there are none.

    Percentiles are nearest-rank: values that really occurred.
    """
    count = len(errors_ns)
    if not count:
        return None
    sizes = np.abs(errors_ns)
    ranks = [math.ceil(count * share) - 1 for share in (0.5, 0.99, 1.0)]
    sizes.partition(ranks)
    p50, p99, largest = (int(sizes[rank]) for rank in ranks)
    return Spread(count=count, p50_ns=p50, p99_ns=p99, max_ns=largest)


def drift_ppm(errors_ns: Nanoseconds, targets_ns: Nanoseconds) -> float | None:
    """Slope of the error over time by least squares, ns per ms·1000; None below three frames."""
    if len(errors_ns) < 3:  # a line through two points says nothing about drift
        return None
    time = (targets_ns - targets_ns[0]).astype(np.float64)
    time -= time.mean()
    return float(time @ errors_ns / (time @ time) * PPM)


def interval_errors_ns(slots: npt.NDArray[np.uint64], errors_ns: Nanoseconds) -> Nanoseconds:
    """Interval between frames of adjacent slots minus Δ; intervals over a gap are left out."""
    adjacent = np.diff(slots) == 1
    intervals: Nanoseconds = np.diff(errors_ns)[adjacent]
    return intervals
