"""Every kind of footage that cannot be synchronised gets its own reason."""

from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest

from multiview.flash import (
    Flash,
    FlashFootage,
    FlashInputError,
    FlashSyncError,
    FlashVideoSynchronization,
    InconsistentFlashError,
    NoFlashError,
    RollingShutterCamera,
    RowFeatures,
    WeakFlashError,
)
from tests.multiview.flash_clips import synchronized, worst_error

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


@pytest.fixture(scope="module")
def untouched() -> tuple[FlashFootage, dict[str, RowFeatures]]:
    plain = footage()
    return plain, {camera.name: plain.features(camera.name) for camera in plain.cameras}


def shaken(untouched, seed: int, reach_ms: float) -> FlashVideoSynchronization:
    """The footage with random errors of up to ``reach_ms`` in the second camera's frame times."""
    _, features = untouched
    rng = np.random.default_rng(seed)
    times = features["cam2"].times_ns
    errors = rng.uniform(-reach_ms * 1e6, reach_ms * 1e6, len(times)).astype(np.int64)
    sync = FlashVideoSynchronization(use_cache=False)
    sync.add_features("cam1", features["cam1"])
    sync.add_features("cam2", RowFeatures(np.sort(times + errors), features["cam2"].luminance))
    return sync


@pytest.mark.parametrize("reach_ms, seed", [(5, 5), (9, 0), (9, 11), (15, 1)])
def test_frame_times_that_are_wrong_by_milliseconds_are_refused(untouched, reach_ms, seed):
    with pytest.raises(FlashSyncError):
        shaken(untouched, seed, reach_ms).synchronize()


@pytest.mark.parametrize("reach_ms", [0.3, 1])
def test_frame_times_that_are_wrong_by_less_widen_the_bound(untouched, reach_ms):
    in_bounds, bounds_ms = [], []
    for seed in range(5):
        sync = shaken(untouched, seed, reach_ms)
        with suppress(InconsistentFlashError, WeakFlashError):
            sync.synchronize()
            in_bounds.append(worst_error(untouched[0], sync)[1])
            bounds_ms.append(sync.get_bound("cam2", SECONDS * 500))
    assert len(in_bounds) >= 3
    assert np.mean(np.array(in_bounds) <= 1) >= 0.8, in_bounds
    assert min(bounds_ms) > reach_ms / 2


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
