"""Skew: how far apart in time the cameras exposed one slot."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from control_server.audit.camera import FrameTimes
from control_server.audit.statistics import Nanoseconds


@dataclass(frozen=True, slots=True)
class Skew:
    """Latest minus earliest exposure midpoint of every slot with at least two cameras."""

    slots: npt.NDArray[np.intp]
    skew_ns: Nanoseconds


def examine_skew(slots: int, cameras: Iterable[FrameTimes]) -> Skew:
    """Skew per slot; Tn is the same for all cameras, so grid errors stand for midpoints."""
    earliest = np.full(slots, np.iinfo(np.int64).max)
    latest = np.full(slots, np.iinfo(np.int64).min)
    seen = np.zeros(slots, np.uint16)
    for times in cameras:
        inside = times.slots < slots
        at, errors = times.slots[inside], times.grid_error_ns[inside]
        earliest[at] = np.minimum(earliest[at], errors)
        latest[at] = np.maximum(latest[at], errors)
        seen[at] += 1
    compared = np.flatnonzero(seen > 1)
    return Skew(compared, latest[compared] - earliest[compared])
