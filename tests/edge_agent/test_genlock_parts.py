"""The parts of the genlock, one by one, with their state after every step."""

import numpy as np
import pytest

from capture_protocol import LockState
from edge_agent.genlock.estimator import PhaseEstimator
from edge_agent.genlock.grid_period import GridPeriod
from edge_agent.genlock.lock import LockDetector
from edge_agent.genlock.outliers import OutlierWatch
from edge_agent.genlock.plan import FramePlan

PERIOD_NS = 33_333_333.0
LINE_NS = 13_360.0


def plan_of(*commands, delay=3):
    plan = FramePlan(delay, 100)
    return plan, [plan.issue(lines) for lines in commands]


def test_a_plan_is_empty_until_a_frame_was_seen():
    plan, cookies = plan_of(101, 102, 103)
    assert cookies == [0, 1, 2]
    assert plan.lengths == []


def test_commands_take_their_place_behind_the_control_delay():
    plan, _ = plan_of(101, 102, 103)
    assert plan.advance(7, 0, 100) is None
    assert plan.lengths == [100, 100, 100, 100, 101, 102, 103]
    plan.issue(104)
    assert plan.lengths == [100, 100, 100, 100, 101, 102, 103, 104]
    assert plan.advance(8, 1, 100) == 100
    assert plan.lengths == [100, 100, 100, 101, 102, 103, 104]


def test_what_a_frame_reports_of_itself_overrules_the_plan():
    plan, _ = plan_of(101, 102)
    plan.advance(0, 0, 100)
    plan.advance(1, 1, 98)
    assert plan.lengths[0] == 98
    assert plan.advance(2, 1, 100) == 98


def test_a_lost_frame_delays_the_commands_that_wait():
    plan, _ = plan_of(101, 102, 103)
    plan.advance(0, 0, 100)
    assert plan.advance(2, 1, 100) == 200
    assert plan.lengths == [100, 100, 101, 101, 102, 103]


def test_frames_lost_without_a_count_shift_the_plan():
    plan, _ = plan_of(101, 102, 103)
    plan.advance(0, 0, 100)
    plan.advance(1, 1, 100)
    assert plan.skip(1) == 100
    assert plan.lengths == [100, 100, 101, 101, 102, 103]
    assert plan.advance(2, 2, 100) == 100


@pytest.mark.parametrize("sequence", [3, 5_000])
def test_a_restarted_or_far_sequence_begins_the_plan_again(sequence):
    plan, _ = plan_of(101, 102)
    plan.advance(10, 0, 100)
    assert plan.advance(sequence, 1, 90) is None
    assert plan.lengths[:4] == [90, 90, 90, 90]


def test_three_contradictions_correct_the_delay():
    plan = FramePlan(2, 100)
    lengths = {}
    for sequence in range(40):
        cookie = plan.issue(100 + sequence % 7)
        lengths[sequence + 4] = 100 + sequence % 7  # the sensor's true delay is 3
        plan.advance(sequence, cookie, lengths.get(sequence, 100))
    assert plan.delay.frames == 3


def test_tails_make_no_jump_and_agreement_does():
    watch = OutlierWatch()
    for tail in (150e3, 40e3, 90e3, 190e3):
        assert watch.rejected(tail, 15e3) is None
    watch.forget()
    assert [watch.rejected(jump, 15e3) for jump in (50e3, 52e3, 49e3)] == [None] * 3
    assert watch.rejected(51e3, 15e3) == 50e3


def test_one_believed_stamp_among_the_outliers_does_not_hide_a_jump():
    watch = OutlierWatch()
    for jump in (-130e3, -129e3):
        assert watch.rejected(jump, 15e3) is None
    watch.believed()
    assert watch.rejected(-131e3, 15e3) is None
    assert watch.rejected(-128e3, 15e3) == -130e3


def test_where_outliers_are_common_more_must_agree():
    watch = OutlierWatch()
    for _ in range(400):
        watch.rejected(100e3, 15e3)
        for _ in range(4):
            watch.believed()
    needed = 0
    watch.forget()
    while watch.rejected(50e3, 15e3) is None:
        needed += 1
    assert needed + 1 > 6


def test_endless_nonsense_is_lost():
    watch = OutlierWatch()
    for number in range(30):
        assert not watch.lost
        watch.rejected(1e6 * number, 15e3)
    assert watch.lost


def test_lock_states_step_by_step():
    detector = LockDetector(LINE_NS)
    near, far, sharp = 0.5 * LINE_NS, 3 * LINE_NS, 500.0
    assert detector.state is LockState.FREE
    assert [detector.judge(near, sharp, True) for _ in range(4)] == [
        LockState.PULLING,
        LockState.PULLING,
        LockState.PULLING,
        LockState.LOCKED,
    ]
    assert detector.judge(1.8 * LINE_NS, sharp, True) is LockState.LOCKED  # hysteresis
    assert [detector.judge(near, sharp, False) for _ in range(4)] == [LockState.LOCKED] * 3 + [
        LockState.HOLDOVER
    ]
    assert detector.judge(near, sharp, True) is LockState.HOLDOVER
    assert detector.judge(far, sharp, True) is LockState.PULLING
    assert detector.reset() is LockState.FREE


@pytest.mark.parametrize(("sigma_ns", "coming_ns"), [(50_000.0, 0.0), (500.0, 5e6)])
def test_no_lock_on_a_vague_phase_or_with_a_pull_on_its_way(sigma_ns, coming_ns):
    detector = LockDetector(LINE_NS)
    states = {detector.judge(0.0, sigma_ns, True, coming_ns) for _ in range(20)}
    assert states == {LockState.PULLING}


def feed(estimator, stamps):
    """Give stamp errors to an estimator on a sensor without any other error."""
    for error_ns in stamps:
        estimator.predict(PERIOD_NS)
        estimator.phase_ns -= PERIOD_NS
        innovation_ns = error_ns - estimator.phase_ns
        if not estimator.start(innovation_ns):
            estimator.learn_noise(innovation_ns)
            estimator.update(innovation_ns)


@pytest.mark.parametrize("noise_ns", [500.0, 3_000.0, 40_000.0])
def test_the_stamp_noise_is_learned(noise_ns):
    estimator = PhaseEstimator()
    feed(estimator, np.random.default_rng(1).normal(0, noise_ns, 4_000))
    assert estimator.stamp_sigma_ns == pytest.approx(noise_ns, rel=0.25)
    assert estimator.sigma_ns < 0.5 * noise_ns


def test_late_interrupts_hardly_change_the_learned_noise():
    rng = np.random.default_rng(2)
    estimator = PhaseEstimator()
    stamps = rng.normal(0, 3_000, 4_000) + (rng.random(4_000) < 0.01) * 100_000
    for error_ns in stamps:
        estimator.predict(PERIOD_NS)
        estimator.phase_ns -= PERIOD_NS
        innovation_ns = error_ns - estimator.phase_ns
        if not estimator.start(innovation_ns):
            believed = abs(innovation_ns) <= estimator.gate_ns
            estimator.learn_noise(innovation_ns)
            if believed:
                estimator.update(innovation_ns)
    assert estimator.stamp_sigma_ns == pytest.approx(3_000, rel=0.25)


def test_the_first_phase_is_a_median():
    estimator = PhaseEstimator()
    estimator.restart(180_000.0)  # a late interrupt
    feed(estimator, [1_000.0, -500.0, 300.0, 200.0])
    assert abs(estimator.phase_ns) < 1_000
    assert estimator.sigma_ns < 20_000


def test_uncertainty_grows_without_stamps():
    estimator = PhaseEstimator()
    feed(estimator, np.random.default_rng(3).normal(0, 3_000, 600))
    grown = [estimator.sigma_after_ns(seconds * 1e9) for seconds in (0, 1, 10, 60)]
    assert grown[0] == pytest.approx(estimator.sigma_ns)
    assert grown == sorted(grown)
    assert 10_000 < grown[-1] < 200_000


def test_the_period_follows_the_clock_and_ignores_steps():
    period = GridPeriod(PERIOD_NS)
    for _ in range(600):
        period.learn(round(PERIOD_NS * (1 + 80e-6)))
    assert period.ns == pytest.approx(PERIOD_NS * (1 + 80e-6), abs=2)
    for moved_ns in (0, 38_333_333, -33_333_333):
        before_ns = period.ns
        period.learn(moved_ns)
        assert period.ns == before_ns
    assert period.wrap(2 * period.ns - 5.0) == pytest.approx(-5.0, abs=1e-3)
