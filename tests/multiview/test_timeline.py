"""The time model: exact inverse, honest sigma, fusion and round trips."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiview.timeline import Evidence, Timeline, TimelineError, TimelineSet, as_covariance

UTC_2026_NS = 1_795_000_000_000_000_000
HOUR_NS = 3_600_000_000_000


def line(**changes) -> Timeline:
    covariance = as_covariance(np.diag([1e4**2, 1e-6**2, 50.0**2]))
    values = {
        "origin_ns": UTC_2026_NS,
        "at_origin_ns": 5_000_000,
        "drift": 50e-6,
        "line_time_ns": 18_900.0,
        "covariance": covariance,
        "evidence": Evidence.FLASH,
    }
    return Timeline(**(values | changes))


@given(
    origin=st.integers(0, UTC_2026_NS),
    at_origin=st.integers(-HOUR_NS, UTC_2026_NS),
    drift=st.floats(-1e-3, 1e-3),
    line_time=st.floats(-40_000, 40_000),
    elapsed=st.integers(-HOUR_NS, HOUR_NS),
    row=st.floats(0, 4000),
)
def test_source_time_inverts_at(origin, at_origin, drift, line_time, elapsed, row):
    timeline = Timeline(origin, at_origin, drift, line_time)
    instant = timeline.at(origin + elapsed, row)
    assert abs(timeline.source_time(instant, row) - (origin + elapsed)) <= 2


def test_times_near_utc_keep_their_nanoseconds():
    timeline = line(drift=0.0)
    assert timeline.at(UTC_2026_NS + 1) - timeline.at(UTC_2026_NS) == 1


def test_at_many_equals_at():
    timeline = line()
    times = UTC_2026_NS + np.arange(0, HOUR_NS, 7_777_777_777)
    assert timeline.at_many(times, 100.5).tolist() == [timeline.at(int(t), 100.5) for t in times]


def test_a_and_b_are_the_documented_model():
    timeline = line(origin_ns=10_000_000_000, at_origin_ns=12_000_000_000)
    t = timeline.a * 3e9 + timeline.b_ns + 7 * timeline.line_time_ns
    assert timeline.at(3_000_000_000, 7) == pytest.approx(t, abs=2)


def test_sigma_grows_with_distance_from_the_origin_and_with_rows():
    timeline = line()
    assert timeline.sigma_ns(UTC_2026_NS) == pytest.approx(1e4)
    assert timeline.sigma_ns(UTC_2026_NS + 10**10) == pytest.approx(np.hypot(1e4, 1e4))
    assert timeline.sigma_ns(UTC_2026_NS, 1000) == pytest.approx(np.hypot(1e4, 5e4))
    assert timeline.bound_ns(UTC_2026_NS) == pytest.approx(2.5758e4, rel=1e-4)


def test_the_stated_bound_holds_for_drawn_parameters():
    timeline, rng = line(), np.random.default_rng(4)
    draws = rng.multivariate_normal(np.zeros(3), np.asarray(timeline.covariance), 20_000)
    errors = draws @ [1.0, 2e10, 300.0]
    inside = np.abs(errors) <= timeline.bound_ns(UTC_2026_NS + 20_000_000_000, 300)
    assert 0.985 <= inside.mean() <= 0.995


@given(shift=st.integers(-HOUR_NS, HOUR_NS))
def test_rebasing_changes_neither_instants_nor_sigma(shift):
    timeline, probe = line(), UTC_2026_NS + 123_456_789_000
    moved = timeline.rebased(UTC_2026_NS + shift)
    assert abs(moved.at(probe, 33) - timeline.at(probe, 33)) <= 2
    assert moved.sigma_ns(probe, 33) == pytest.approx(timeline.sigma_ns(probe, 33), rel=1e-6)


def test_fusion_weighs_by_certainty():
    coarse = Timeline.shifted(1_000_000, sigma_ns=3000)
    fine = Timeline.shifted(1_008_000, sigma_ns=1000, evidence=Evidence.AUDIO)
    both = coarse.combined(fine)
    assert both.at(0) == pytest.approx(1_007_200, abs=1)
    assert both.sigma_ns(0) == pytest.approx(3000 / np.sqrt(10))
    assert both.evidence is Evidence.COMBINED
    assert coarse.distance(fine) == pytest.approx(8000 / np.hypot(3000, 1000))


def test_fusion_with_itself_halves_the_variance():
    both = line().combined(line())
    assert both.at(UTC_2026_NS) == line().at(UTC_2026_NS)
    assert both.sigma_ns(UTC_2026_NS) == pytest.approx(1e4 / np.sqrt(2))
    assert both.evidence is Evidence.FLASH


@pytest.mark.parametrize("write, read", [("to_json", "from_json"), ("to_yaml", "from_yaml")])
def test_text_round_trip_is_exact(write, read):
    lines = TimelineSet({"a": Timeline(), "b": line(drift=1e-5)}, "a", {"verdict": "ok"})
    assert getattr(TimelineSet, read)(getattr(lines, write)()) == lines


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"timelines": {}}', '{"version": 9, "timelines": {}}']
)
def test_a_text_that_is_no_timeline_file_is_refused(text):
    with pytest.raises(TimelineError):
        TimelineSet.from_json(text)


def test_missing_and_malformed_fields_are_named():
    data = line().as_dict()
    del data["drift"]
    with pytest.raises(TimelineError, match="drift"):
        Timeline.from_dict(data)
    with pytest.raises(TimelineError, match="malformed"):
        Timeline.from_dict(line().as_dict() | {"covariance": [[1.0]]})
    with pytest.raises(TimelineError, match="'z'"):
        TimelineSet({"a": line()}, reference="z")


@pytest.mark.parametrize(
    "changes",
    [
        {"drift": float("nan")},
        {"drift": 0.7},
        {"line_time_ns": float("inf")},
        {"covariance": ((-1.0, 0, 0), (0, 0, 0), (0, 0, 0))},
        {"covariance": ((1.0, 2.0, 0), (2.0, 1.0, 0), (0, 0, 0))},
        {"covariance": ((1.0, 0.5, 0), (0, 1.0, 0), (0, 0, 0))},
    ],
)
def test_impossible_numbers_are_refused(changes):
    with pytest.raises(TimelineError):
        line(**changes)


def test_json_is_plain_json():
    assert json.loads(TimelineSet({"a": line()}).to_json())["timelines"]["a"]["drift"] == 50e-6
