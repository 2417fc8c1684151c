"""The simulated sensor's physics: what it does to commands, clocks, stamps and requests."""

import itertools
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capture_protocol.errors import InputError
from edge_agent.sensor import (
    MODES,
    FrameDurationLimits,
    FreeRunningSensor,
    Request,
    SensorMode,
    SensorPhysics,
    TriggeredSensor,
    sensor_mode,
)

MODE = sensor_mode("imx708-2304")
PERFECT = SensorPhysics(wander_ppm=0, stamp_noise_ns=0, tail_probability=0)
modes = st.sampled_from(list(MODES.values()))

deterministic = settings(derandomize=True, deadline=None)


def limits(us):
    return FrameDurationLimits(us, us)


def run(sensor, count, request_of=lambda _: Request(limits(33_333), 1_000_000)):
    """Keep one request queued ahead; return the first ``count`` frames."""
    frames = []
    sensor.queue_request(0, request_of(0))
    while len(frames) < count:
        for frame in sensor.advance(sensor.next_completion_ns):
            frames.append(frame)
            sensor.queue_request(frame.complete_ns, request_of(len(frames)))
    return frames


def intervals(frames):
    starts = [frame.true_frame_start_ns for frame in frames]
    return [after - before for before, after in itertools.pairwise(starts)]


def test_the_table_agrees_with_the_documented_top_rates():
    documented = {
        "imx708-4608": 14.35,
        "imx708-2304": 56.03,
        "imx708-1536": 120.13,
        "imx477-4056": 10.00,
        "imx477-2028": 40.01,
        "imx477-1332": 120.05,
        "imx219-3280": 21.19,
        "imx219-1920": 47.57,
        "imx219-1640": 41.85,
        "imx219-640": 103.33,
        "imx296-1456": 60.38,
    }
    assert {name: round(mode.top_rate_hz, 2) for name, mode in MODES.items()} == pytest.approx(
        documented, abs=0.02
    )


def test_only_the_global_shutter_sensor_has_one():
    assert [name for name, mode in MODES.items() if mode.global_shutter] == ["imx296-1456"]


@deterministic
@given(modes, st.integers(500, 65_535))
def test_a_commanded_length_is_programmed_exactly_or_clamped(mode, lines):
    wanted = min(max(lines, mode.shortest_lines), mode.longest_lines)
    assert mode.lines_of(mode.limit_us(lines)) == wanted


@deterministic
@given(modes, st.integers(1, 2_000_000))
def test_limits_are_floored_to_whole_lines_and_kept_in_range(mode, limit_us):
    lines = mode.lines_of(limit_us)
    assert mode.shortest_lines <= lines <= mode.longest_lines
    if mode.shortest_lines < lines < mode.longest_lines:
        assert 0 <= limit_us * 1_000 - lines * mode.line_time_ns < mode.line_time_ns


def test_midpoint_of_the_middle_row():
    assert MODE.midpoint_offset_ns(4_000_000) == pytest.approx(648 * 13_360.66 - 2_000_000, abs=10)
    assert sensor_mode("imx296-1456").midpoint_offset_ns(4_000_000) == -2_000_000


@pytest.mark.parametrize("name", ["imx708-2304", "imx219-1640"])
def test_a_command_takes_effect_after_the_control_delay(name):
    mode = sensor_mode(name)
    sensor = FreeRunningSensor(mode, PERFECT, seed=1, start_ns=0)
    lengths = [33_333] * 5 + [40_000] + [33_333] * 20
    frames = run(sensor, 20, lambda number: Request(limits(lengths[number])))
    long = [number for number, ns in enumerate(intervals(frames)) if ns > 39_000_000]
    assert long == [5 + 1 + mode.vblank_delay]  # filled by frame 5, written at the start of 6
    assert frames[long[0]].frame_duration_ns // 1_000_000 == 39


def test_oscillator_error_stretches_every_frame():
    slow = FreeRunningSensor(
        MODE,
        SensorPhysics(ppm=50, wander_ppm=0, stamp_noise_ns=0, tail_probability=0),
        seed=1,
        start_ns=0,
    )
    frames = run(slow, 300)
    nominal = MODE.lines_of(33_333) * MODE.line_time_ns
    measured = statistics.fmean(intervals(frames)[10:])
    assert (measured / nominal - 1) * 1e6 == pytest.approx(50, abs=0.01)


def test_wander_is_slow_and_of_the_named_size():
    physics = SensorPhysics(wander_ppm=1.0, stamp_noise_ns=0, tail_probability=0)
    nominal = MODE.lines_of(100_000) * MODE.line_time_ns
    means = []
    for seed in range(40):
        sensor = FreeRunningSensor(MODE, physics, seed=seed, start_ns=0)
        frames = run(sensor, 110, lambda _: Request(limits(100_000)))
        ppm = [(ns / nominal - 1) * 1e6 for ns in intervals(frames)[10:]]
        means.append(statistics.fmean(ppm))
        assert max(ppm) - min(ppm) < 1.0  # within ten seconds it hardly moves
    assert statistics.stdev(means) == pytest.approx(1.0, rel=0.35)


def test_stamps_have_gaussian_noise_and_late_tails():
    sensor = FreeRunningSensor(MODE, SensorPhysics(), seed=3, start_ns=0)
    errors = [f.frame_start_ns - f.true_frame_start_ns for f in run(sensor, 8_000)]
    late = [error for error in errors if error > 15_000]
    body = [error for error in errors if error <= 15_000]
    assert statistics.stdev(body) == pytest.approx(3_000, rel=0.1)
    assert statistics.fmean(body) == pytest.approx(0, abs=150)
    assert 0.006 < len(late) / len(errors) < 0.013
    assert max(errors) < 215_000
    assert min(errors) > -20_000


def test_a_frame_without_a_request_is_lost_and_counted():
    sensor = FreeRunningSensor(MODE, PERFECT, seed=1, start_ns=0)
    sensor.queue_request(0, Request(cookie=7))
    first = sensor.advance(300_000_000)
    sensor.queue_request(300_000_000, Request(cookie=8))
    second = sensor.advance(340_000_000)
    assert [frame.cookie for frame in first + second] == [7, 8]
    assert first[0].sequence == 0
    assert second[0].sequence == 9  # frame 8 was complete at 287 ms, before the request
    assert second[0].complete_ns > 300_000_000


def test_a_dropped_frame_keeps_its_request_for_the_next():
    physics = SensorPhysics(drop_probability=0.2)
    frames = run(FreeRunningSensor(MODE, physics, seed=1, start_ns=0), 500, _numbered)
    assert [frame.cookie for frame in frames] == list(range(500))
    lost = frames[-1].sequence + 1 - 500
    assert 80 < lost < 170


def _numbered(number):
    return Request(limits(33_333), 1_000_000, cookie=number)


def test_exposure_is_whole_lines_and_ends_before_its_frame():
    frames = run(
        FreeRunningSensor(MODE, PERFECT, seed=1, start_ns=0),
        12,
        lambda _: Request(limits(20_000), 30_000_000),
    )
    last = frames[-1]
    lines = last.exposure_ns / MODE.line_time_ns
    assert lines == pytest.approx(round(lines), abs=1e-3)
    assert last.exposure_ns < last.frame_duration_ns


def test_rolling_shutter_rows_follow_each_other_global_rows_do_not():
    frame = run(FreeRunningSensor(MODE, PERFECT, seed=1, start_ns=0), 1)[0]
    top, bottom = frame.true_midpoint_ns(0, 480), frame.true_midpoint_ns(480, 480)
    assert bottom - top == pytest.approx(1296 * MODE.line_time_ns, abs=2)
    assert top == frame.true_frame_start_ns - frame.true_exposure_ns // 2
    mode = sensor_mode("imx296-1456")
    frame = run(FreeRunningSensor(mode, PERFECT, seed=1, start_ns=0), 1)[0]
    assert frame.true_midpoint_ns(0, 480) == frame.true_midpoint_ns(480, 480)


@settings(deterministic, max_examples=30)
@given(st.integers(0, 2**32), st.lists(st.integers(1, 10**9), min_size=2, max_size=12))
def test_the_same_seed_gives_the_same_frames_however_often_it_is_asked(seed, steps):
    physics = SensorPhysics(ppm=20, drop_probability=0.05)
    asked_often = FreeRunningSensor(MODE, physics, seed=seed, start_ns=5)
    asked_once = FreeRunningSensor(MODE, physics, seed=seed, start_ns=5)
    for sensor in (asked_often, asked_once):
        for number in range(200):
            sensor.queue_request(0, _numbered(number))
    frames, until = [], 0
    for step in steps:
        until += step
        frames += asked_often.advance(until)
    assert frames == asked_once.advance(until)
    assert all(frame.complete_ns <= until for frame in frames)


def test_sensors_start_at_phases_of_their_own():
    starts = {
        run(FreeRunningSensor(MODE, PERFECT, seed=seed, start_ns=0), 1)[0].frame_start_ns
        for seed in range(20)
    }
    assert len(starts) == 20
    assert max(starts) - min(starts) > 20_000_000


def test_a_jump_moves_all_later_frames():
    kept, moved = (FreeRunningSensor(MODE, PERFECT, seed=1, start_ns=0) for _ in range(2))
    moved.jump(5_000_000)
    pairs = zip(run(kept, 5), run(moved, 5), strict=True)
    assert {b.true_frame_start_ns - a.true_frame_start_ns for a, b in pairs} == {5_000_000}


def test_a_trigger_starts_the_exposure():
    mode = sensor_mode("imx296-1456")
    sensor = TriggeredSensor(mode, PERFECT, seed=1, start_ns=0)
    assert sensor.next_completion_ns is None
    sensor.queue_request(1_000_000, Request(exposure_ns=4_000_000, cookie=3))
    (frame,) = sensor.advance(sensor.next_completion_ns)
    assert frame.true_midpoint_ns(240, 480) == 1_000_000 + 2_000_000
    assert frame.true_frame_start_ns == 5_000_000
    assert frame.cookie == 3


def test_a_trigger_that_comes_too_early_is_missed():
    sensor = TriggeredSensor(MODE, PERFECT, seed=1, start_ns=0)
    for at_ns in (0, 10_000_000, 30_000_000):
        sensor.queue_request(at_ns, Request(exposure_ns=1_000_000))
    assert [frame.sequence for frame in sensor.advance(100_000_000)] == [0, 1]
    assert sensor.missed == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"line_time_ns": 100.0},
        {"shortest_lines": 10},
        {"longest_lines": 1_000},
        {"vblank_delay": 9},
    ],
)
def test_impossible_modes_are_refused(wrong):
    good = {
        "name": "mine-100",
        "width": 100,
        "rows": 1_000,
        "line_time_ns": 10_000.0,
        "shortest_lines": 1_010,
        "vblank_delay": 2,
    }
    assert sensor_mode("mine-100", {"mine-100": SensorMode(**good)}).rows == 1_000
    with pytest.raises(InputError, match="mine-100"):
        SensorMode(**{**good, **wrong})


def test_an_unknown_mode_names_the_known_ones():
    with pytest.raises(InputError, match="imx999") as refused:
        sensor_mode("imx999-1")
    assert "imx708-2304" in refused.value.hint


@pytest.mark.parametrize(
    "wrong", [{"ppm": 5_000.0}, {"drop_probability": 1.5}, {"tail_ns": -1.0}, {"wander_ppm": -1.0}]
)
def test_impossible_physics_are_refused(wrong):
    with pytest.raises(InputError):
        SensorPhysics(**wrong)
