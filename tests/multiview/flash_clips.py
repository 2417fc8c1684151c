"""Footage that several flash tests share; made once per process."""

from dataclasses import replace
from functools import cache

import numpy as np

from multiview.flash import FlashFootage, FlashVideoSynchronization, scenario
from multiview.flash._track import FlashTrack, track_flashes


@cache
def tracks(name: str, seed: int = 0) -> dict[str, FlashTrack]:
    footage = scenario(name, seed)
    return {camera.name: track_flashes(footage.features(camera.name)) for camera in footage.cameras}


def synchronized(footage: FlashFootage) -> FlashVideoSynchronization:
    """A synchroniser that was given the footage's features in place of videos."""
    sync = FlashVideoSynchronization(use_cache=False)
    for camera in footage.cameras:
        sync.add_features(camera.name, footage.features(camera.name))
    return sync


def worst_error(footage: FlashFootage, sync: FlashVideoSynchronization) -> tuple[float, float]:
    """Largest error (ms) over all cameras, rows and the clip, and the largest in bounds."""
    worst = in_bounds = 0.0
    for camera in footage.cameras:
        times = np.linspace(0, footage.duration_ns, 9).astype(np.int64)
        for row in (0, camera.height // 2, camera.height - 1):
            truth = footage.true_ns(camera.name, times, row, "cam1") / 1e6
            for own, true_ms in zip(times / 1e6, truth, strict=True):
                error = abs(sync.get_time(camera.name, own, row) - true_ms)
                bound = sync.get_bound(camera.name, own, row)
                worst = max(worst, error)
                if camera.name != "cam1" or row:  # the base's first row is exact by definition
                    in_bounds = max(in_bounds, error / bound)
    return worst, in_bounds


def shortened(footage: FlashFootage, seconds: float) -> FlashFootage:
    """The same footage, cut."""
    return replace(footage, duration_ns=round(seconds * 1e9))
