"""Footage of known truth: sub-millisecond inside the stated bound, or a refusal with a reason."""

import pytest

from multiview.flash import (
    SCENARIOS,
    AmbiguousFlashError,
    FlashFootage,
    NoCommonFlashError,
    scenario,
)
from tests.multiview.flash_clips import synchronized, worst_error

SOLVABLE = [name for name in SCENARIOS if scenario(name).solvable]
PLAIN_LIMIT_MS, OTHER_LIMIT_MS = 0.3, 1.0


@pytest.mark.parametrize("name", SOLVABLE)
def test_every_row_is_timed_within_the_stated_bound(name):
    footage = scenario(name)
    sync = synchronized(footage)
    sync.synchronize()
    worst_ms, in_bounds = worst_error(footage, sync)
    assert worst_ms <= (PLAIN_LIMIT_MS if name == "plain" else OTHER_LIMIT_MS)
    assert in_bounds <= 1.0
    for camera in footage.cameras:
        verdict = sync.verdicts[camera.name]
        assert verdict.upside_down == camera.upside_down
        assert abs(verdict.line_time_us) * 1e3 == pytest.approx(camera.line_time_ns, rel=0.02)
        assert verdict.exposure_ms * 1e6 == pytest.approx(camera.exposure_ns, rel=0.02)


def test_videos_without_a_common_flash_are_refused():
    sync = synchronized(scenario("none-common"))
    with pytest.raises(NoCommonFlashError, match=r"cam\d: at best \d of its \d+ flashes") as caught:
        sync.synchronize()
    assert caught.value.hint


@pytest.fixture(scope="module")
def periodic() -> tuple[FlashFootage, object]:
    footage = scenario("periodic")
    return footage, synchronized(footage)


def test_evenly_spaced_flashes_are_refused_as_ambiguous(periodic):
    with pytest.raises(AmbiguousFlashError, match=r"shifted by \d+\.\d\d s"):
        periodic[1].synchronize()


def test_a_rough_offset_settles_what_even_flashes_cannot(periodic):
    footage, sync = periodic
    offsets = {c.name: (7e9 - c.start_ns) / 1e6 + 300 for c in footage.cameras}
    offsets["cam1"] -= 300
    sync.synchronize(offsets=offsets)
    worst_ms, in_bounds = worst_error(footage, sync)
    assert worst_ms <= OTHER_LIMIT_MS
    assert in_bounds <= 1.0
