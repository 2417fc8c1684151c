"""Every kind of footage that cannot be synchronised gets its own reason."""

from dataclasses import replace

import numpy as np
import pytest

from multiview.flash import (
    Flash,
    FlashFootage,
    FlashInputError,
    FlashVideoSynchronization,
    InconsistentFlashError,
    NoFlashError,
    RollingShutterCamera,
    RowFeatures,
    WeakFlashError,
)
from tests.multiview.flash_clips import synchronized

ONSETS_S = np.cumsum([2.1, 1.23, 0.87, 1.66, 0.95, 1.41, 1.04, 1.87, 0.83])
SECONDS = 14


def footage(count: int = len(ONSETS_S), **second_camera) -> FlashFootage:
    cameras = (
        RollingShutterCamera("cam1", line_time_ns=55_000),
        RollingShutterCamera("cam2", start_ns=1_300_000_000, line_time_ns=45_000, **second_camera),
    )
    flashes = tuple(Flash(round(onset * 1e9)) for onset in ONSETS_S[:count])
    return FlashFootage("refused", cameras, flashes, SECONDS * 1_000_000_000)


def test_the_same_footage_untouched_is_solved():
    sync = synchronized(footage())
    sync.synchronize()
    assert sync.verdicts["cam2"].common >= 6


@pytest.mark.parametrize("count, found", [(0, "0 flashes found"), (2, "2 flashes found")])
def test_too_few_flashes(count, found):
    with pytest.raises(NoFlashError, match=found):
        synchronized(footage(count)).synchronize()


def test_a_global_shutter_shows_no_edges():
    plain = footage()
    one, two = plain.cameras
    flat = replace(plain, cameras=(one, replace(two, line_time_ns=1.0, exposure_ns=30e6)))
    with pytest.raises(NoFlashError, match=r"cam2: .* edges between lit and dark rows"):
        synchronized(flat).synchronize()


def test_a_wider_bound_than_asked_for():
    sync = synchronized(footage())
    with pytest.raises(WeakFlashError, match=r"limit ±0\.001 ms"):
        sync.synchronize(max_bound_ms=0.001)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_frames_re_timed_by_an_editor_contradict_each_other(seed):
    plain = footage()
    sync = synchronized(plain)
    features = plain.features("cam2")
    shaken = np.random.default_rng(seed).uniform(-5e6, 5e6, len(features.times_ns))
    times = features.times_ns + shaken.astype(np.int64)
    sync.add_features("cam2", RowFeatures(times, features.luminance))
    with pytest.raises(InconsistentFlashError, match="agree"):
        sync.synchronize()


def test_arguments_that_name_no_camera():
    sync = synchronized(footage())
    with pytest.raises(FlashInputError, match="no such camera: cam9"):
        sync.synchronize(base_cam="cam9")
    with pytest.raises(FlashInputError, match="two videos"):
        sync.synchronize(cameras=["cam1"])
    with pytest.raises(FlashInputError, match="not synchronised yet"):
        sync.get_time("cam1", 0.0)
    assert str(sync) == "2 videos, not synchronised"
    assert str(FlashVideoSynchronization(use_cache=False)) == "0 videos, not synchronised"
