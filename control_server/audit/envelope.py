"""A long session in a few hundred bins: what is drawn of each is its spread, so nothing hides."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
MOST_BINS = 320
"""About as many as a plot has columns of three pixels."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """Median, 99th percentile and maximum of the values in each bin; NaN where a bin is empty."""

    median: Values
    p99: Values
    highest: Values


def bins_of(slots: int) -> int:
    """How many bins a session of ``slots`` slots is drawn in."""
    return max(1, min(slots, MOST_BINS))


def bin_edges(slots: int, bins: int) -> npt.NDArray[np.int64]:
    """First slot of each bin, and the end of the last one."""
    return -(-np.arange(bins + 1, dtype=np.int64) * slots // bins)


def envelope(
    at: npt.NDArray[np.integer], values: npt.NDArray[np.number], slots: int, bins: int
) -> Envelope:
    """Envelope of ``values`` that belong to slots ``at`` (each below ``slots``, in any order)."""
    bin_of = at.astype(np.int64) * bins // max(slots, 1)
    order = np.lexsort((values, bin_of))
    ordered = np.append(values[order].astype(np.float64), np.nan)
    starts = np.searchsorted(bin_of[order], np.arange(bins + 1))
    counts = np.diff(starts)

    def rank(share: float) -> Values:
        index = starts[:-1] + np.ceil(counts * share).astype(np.int64) - 1
        return np.asarray(ordered[np.where(counts > 0, index, len(ordered) - 1)])

    return Envelope(rank(0.5), rank(0.99), rank(1.0))
