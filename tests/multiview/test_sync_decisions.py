"""The synchroniser's decisions, on frames without any file."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiview.errors import SyncConfigError
from multiview.sources import NS_PER_S, Frame, Picture, VideoMetadata
from multiview.sync import (
    BentTimeMap,
    FrameSet,
    VideoSynchronizer,
    detect_drift,
    is_frame_batch_valid,
)
from multiview.sync._instants import covered_span, instants, target_rate
from multiview.sync._interpolate import blend
from multiview.sync._synchronizer import is_bridgeable

BLACK = Picture.from_array(np.zeros((16, 16, 3), np.uint8))
GREY = Picture.from_array(np.full((16, 16, 3), 100, np.uint8))


def frame(camera: str, seconds: float, number: int = 0, picture: Picture = BLACK) -> Frame:
    return Frame(camera, round(seconds * NS_PER_S), number, picture=picture)


def extent(
    camera: str, fps: float, start_s: float = 0, duration_s: float | None = 10
) -> VideoMetadata:
    duration_ns = None if duration_s is None else round(duration_s * NS_PER_S)
    start_ns = round(start_s * NS_PER_S)
    return VideoMetadata(camera, 64, 64, fps, "h264", start_ns=start_ns, duration_ns=duration_ns)


def test_frames_within_the_tolerance_are_chosen() -> None:
    synchronizer = VideoSynchronizer(sync_tolerance=0.040)
    taken = {"cam1": [frame("cam1", 1.0)], "cam2": [frame("cam2", 1.2), frame("cam2", 1.033)]}
    chosen = synchronizer.synchronize_frames(taken, 1.0)
    assert chosen["cam1"].timestamp == 1.0
    assert chosen["cam2"].timestamp == 1.033
    assert all(found.is_valid for found in chosen.values())


def test_a_frame_out_of_tolerance_is_marked_with_the_reason() -> None:
    chosen = VideoSynchronizer(0.02).synchronize_frames(
        {"near": [frame("near", 1.01)], "far": [frame("far", 1.05)], "none": []}, 1.0
    )
    assert chosen["near"].is_valid
    assert chosen["far"].reason.startswith("nearest frame is 50.0 ms after")
    assert chosen["far"].image is None
    assert chosen["none"].reason == "the camera has no frames"
    assert is_frame_batch_valid(chosen, min_cameras=1)
    assert not is_frame_batch_valid(chosen)


def test_a_sync_buffer_knows_the_common_span_and_the_lowest_rate() -> None:
    taken = {
        "a": [frame("a", n / 30) for n in range(31)],
        "b": [frame("b", 0.5 + n / 25) for n in range(26)],
    }
    buffer = VideoSynchronizer().build_sync_buffer(taken)
    assert (buffer.start_time, buffer.end_time) == (0.5, 1.0)
    assert buffer.target_fps == pytest.approx(25)


@given(st.lists(st.integers(0, 10**10), min_size=1, max_size=30), st.integers(0, 10**10))
def test_the_closest_frame_is_the_closest_of_all(times: list[int], target_ns: int) -> None:
    taken = [Frame("cam", time_ns, k, picture=BLACK) for k, time_ns in enumerate(times)]
    synchronizer = VideoSynchronizer(3599)
    chosen = synchronizer.synchronize_frames({"cam": taken}, target_ns / NS_PER_S)["cam"]
    asked_ns = round(target_ns / NS_PER_S * NS_PER_S)
    assert abs(chosen.time_ns - asked_ns) == min(abs(t - asked_ns) for t in times)


@pytest.mark.parametrize("tolerance", [0, -1, float("nan"), float("inf")])
def test_absurd_tolerances_are_refused(tolerance: float) -> None:
    with pytest.raises(SyncConfigError, match="tolerance"):
        VideoSynchronizer(tolerance)


@given(
    st.integers(0, 2 * 10**18),
    st.fractions(Fraction(1, 10), Fraction(1000), max_denominator=1001),
)
def test_instants_do_not_drift(start_ns: int, rate: Fraction) -> None:
    found = instants(start_ns, start_ns + 10**15, rate)
    for n, time_ns in zip(range(1000), found, strict=False):
        assert abs(time_ns - start_ns - n * NS_PER_S / rate) <= Fraction(1, 2)


def test_instants_end_before_the_end() -> None:
    assert list(instants(0, NS_PER_S, Fraction(4))) == [0, 250_000_000, 500_000_000, 750_000_000]
    assert list(instants(5, 5, Fraction(4))) == []


def test_the_target_rate_is_that_of_the_slowest_or_fastest_or_given() -> None:
    extents = [extent("a", 29.97002997), extent("b", 25), extent("c", 60)]
    assert target_rate("lowest", extents) == 25
    assert target_rate("highest", extents) == 60
    assert target_rate("lowest", extents[:1]) == Fraction(30000, 1001)
    assert target_rate(12.5, extents) == Fraction(25, 2)
    for wrong in (0, -5, 1e9, "fast"):
        with pytest.raises(SyncConfigError, match="target rate"):
            target_rate(wrong, extents)


def test_sources_must_have_an_instant_in_common() -> None:
    assert covered_span([extent("a", 30, 0), extent("b", 30, 2.3)]) == (0, 12_300_000_000)
    with pytest.raises(SyncConfigError, match="no instant in common") as refusal:
        covered_span([extent("a", 30, 0), extent("b", 30, 1_700_000_000)])
    assert refusal.value.hint
    with pytest.raises(SyncConfigError, match="live"):
        covered_span([extent("a", 30), extent("b", 30, duration_s=None)])


def test_mixing_two_frames_weighs_them_by_time() -> None:
    before, after = frame("a", 1.0, 7), frame("a", 1.1, 8, picture=GREY)
    mixed = blend(before, after, round(1.025 * NS_PER_S))
    assert mixed.image is not None
    assert int(mixed.image.mean()) == 25
    assert mixed.metadata["interpolated"] == pytest.approx(0.25)
    assert mixed.uncertainty_ns == 25_000_000
    assert is_bridgeable(before, after, period_ns=34e6)
    assert not is_bridgeable(before, after, period_ns=33e6)
    assert not is_bridgeable(before, Frame.missing("a", after.time_ns, "lost"), period_ns=1e9)


def test_a_frame_set_tells_skew_and_uncertainty_of_what_is_usable() -> None:
    found = FrameSet(
        10**9,
        {
            "a": frame("a", 1.0),
            "b": Frame("b", 1_004_000_000, 3, picture=BLACK, uncertainty_ns=500),
            "c": Frame.missing("c", 5 * 10**9, "lost"),
        },
    )
    assert (found.skew_ns, found.uncertainty_ns, found.timestamp) == (4_000_000, 500, 1.0)
    assert set(found.valid) == {"a", "b"}


@given(
    st.floats(-200, 200), st.integers(-(10**12), 10**12), st.integers(0, 2**31), st.integers(0, 3)
)
def test_steady_drift_is_found_despite_wrong_pairs(
    ppm: float, offset_ns: int, seed: int, wrong: int
) -> None:
    random = np.random.default_rng(seed)
    source = np.sort(random.integers(0, 600 * NS_PER_S, 40))
    common = source + np.rint(source * ppm * 1e-6).astype(np.int64) + offset_ns
    common = common + np.rint(random.normal(0, 20_000, 40)).astype(np.int64)
    common[random.choice(40, wrong, replace=False)] += NS_PER_S
    drift = detect_drift(source, common)
    assert drift.drift_ppm == pytest.approx(ppm, abs=0.2)
    assert drift.outliers >= wrong
    middle = 300 * NS_PER_S
    assert (
        abs(drift.time_map.at(middle) - (middle + round(middle * ppm * 1e-6) + offset_ns)) < 30_000
    )


def test_drift_that_changes_is_followed_piece_by_piece() -> None:
    source = np.arange(0, 601, 2) * NS_PER_S
    bend = 300 * NS_PER_S
    late = np.where(source < bend, source * 10e-6, bend * 10e-6 + (source - bend) * 60e-6)
    drift = detect_drift(source, source + np.rint(late).astype(np.int64), windows=2)
    assert drift.window_ppm == pytest.approx((10, 60), abs=0.1)
    assert drift.drift_ppm == pytest.approx(35, abs=0.1)
    asked = 450 * NS_PER_S
    assert abs(drift.time_map.at(asked) - asked - 12_000_000) < 1000


@pytest.mark.parametrize(
    ("source", "common", "windows"),
    [
        ([1, 2], [1, 2], 1),
        ([5, 5, 5], [1, 2, 3], 1),
        ([1, 2, 3], [1, 2], 1),
        ([1, 2, 3], [1, 2, 3], 0),
    ],
)
def test_too_little_to_tell_a_drift_is_refused(
    source: list[int], common: list[int], windows: int
) -> None:
    with pytest.raises(SyncConfigError):
        detect_drift(source, common, windows=windows)


@given(st.integers(-(10**10), 2 * 10**18))
def test_a_bent_time_map_and_its_inverse_agree(time_ns: int) -> None:
    utc = 1_790_000_000 * NS_PER_S
    bent = BentTimeMap(
        np.array([0, 10**10, 3 * 10**10]),
        np.array([utc, utc + 10**10 + 500, utc + 3 * 10**10]),
        90.0,
    )
    near_ns = time_ns % (4 * 10**10) - 10**10
    assert abs(bent.source_time(bent.at(near_ns)) - near_ns) <= 1
    assert bent.sigma_ns(-(10**10)) > bent.sigma_ns(5) == 90.0


def test_a_bent_time_map_must_increase() -> None:
    for source, instant in [([0, 1], [1, 1]), ([0], [0]), ([1, 0], [0, 1])]:
        with pytest.raises(SyncConfigError):
            BentTimeMap(np.array(source), np.array(instant))


def test_every_exported_name_is_there() -> None:
    import multiview

    assert [name for name in multiview.__all__ if not hasattr(multiview, name)] == []
    assert not hasattr(multiview, "anything_else")
