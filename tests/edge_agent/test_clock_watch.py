"""What the agent makes of its clock: by linuxptp, by the kernel, and in holdover."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture_protocol.events import ClockSource
from capture_protocol.frame import MAX_UNCERTAINTY_NS
from edge_agent.clock import (
    UNKNOWN_DISCIPLINE,
    KernelClock,
    ntp_discipline,
    read_kernel_clock,
)
from edge_agent.clock.waiting import wait_for_discipline
from edge_agent.clock.watch import LOOK_S, ClockWatch
from edge_agent.linuxptp import MAX_OFFSET_NS, ClockStatus, Driver
from edge_agent.linuxptp.pmc import PortState

LOOK_NS = round(LOOK_S * 1_000_000_000)
FOLLOWING = ClockStatus(
    source=ClockSource.PTP_SOFTWARE,
    driver=Driver.PTP4L,
    disciplined=True,
    is_grandmaster=False,
    grandmaster="aa.bb",
    port_state=PortState.SLAVE,
    stamping=None,
    interface="eth0",
    offset_ns=500.0,
    path_delay_ns=16_000.0,
    steps_removed=1,
    phcs=(),
    phc=None,
    phc2sys_age_ns=None,
    ingress_time_ns=0,
    sync_interval_s=0.125,
)


def look(watch, number, **changes):
    """The judgement at the n-th look; a new synchronisation has arrived unless told otherwise."""
    changes = {"ingress_time_ns": number, **changes}
    status = dataclasses.replace(FOLLOWING, **changes)
    return watch.judge(status, number * LOOK_NS, 25_000.0)


@pytest.fixture
def settled():
    """A watch that has seen a minute of discipline."""
    watch = ClockWatch("ptp")
    for number in range(60):
        look(watch, number)
    return watch


def test_a_settled_clock_is_within_a_few_microseconds(settled):
    discipline = look(settled, 60)
    assert (discipline.source, discipline.synchronised) == (ClockSource.PTP_SOFTWARE, True)
    assert (discipline.holdover, discipline.problem) == (False, "")
    assert discipline.offset_ns == 500
    assert 4_000 < discipline.uncertainty_ns < 8_000  # a quarter of the path delay at least


def test_the_first_sample_proves_little():
    assert look(ClockWatch("ptp"), 0).uncertainty_ns > 20_000


def test_silence_is_holdover_before_ptp4l_gives_its_master_up(settled):
    last = 59
    states = [look(settled, last + n, ingress_time_ns=last).holdover for n in range(1, 4)]
    assert states == [False, True, True]
    bounds = [
        look(settled, last + n, ingress_time_ns=last).uncertainty_ns for n in (4, 10, 60, 600)
    ]
    assert bounds == sorted(set(bounds))


def test_slow_synchronisation_is_not_silence(settled):
    """With one message in four seconds, three looks of four see nothing new."""
    for number in range(60, 80):
        seen = look(settled, number, ingress_time_ns=number // 4, sync_interval_s=4.0)
        assert not seen.holdover


def test_a_lost_port_is_holdover_at_once_and_keeps_its_source(settled):
    lost = look(
        settled, 60, disciplined=False, source=ClockSource.UNKNOWN, port_state=PortState.LISTENING
    )
    assert (lost.holdover, lost.source) == (True, ClockSource.PTP_SOFTWARE)
    assert "grandmaster is lost" in lost.problem
    assert not look(settled, 61).holdover


@pytest.mark.parametrize("disciplined", [True, False])
def test_an_offset_that_has_not_settled_is_part_of_the_bound(settled, disciplined):
    before = look(settled, 60).uncertainty_ns
    stepped = look(settled, 61, offset_ns=5e6, disciplined=disciplined)
    assert stepped.uncertainty_ns >= before + 5_000_000
    assert look(settled, 62).uncertainty_ns < 2 * before  # and it is forgotten afterwards


def test_a_servo_that_undoes_a_step_says_nothing_of_the_crystal(settled):
    before = look(settled, 60).uncertainty_ns
    racing = dataclasses.replace(FOLLOWING, ingress_time_ns=61)
    settled.judge(racing, 61 * LOOK_NS, -17_000_000.0)
    assert look(settled, 62).uncertainty_ns < before + 1_000


def test_a_grandmaster_needs_no_synchronisation():
    watch = ClockWatch("ptp")
    for number in range(30):
        seen = look(
            watch,
            number,
            is_grandmaster=True,
            source=ClockSource.GRANDMASTER,
            ingress_time_ns=0,
            offset_ns=0.0,
            path_delay_ns=0.0,
        )
    assert (seen.source, seen.holdover, seen.synchronised) == (ClockSource.GRANDMASTER, False, True)


@given(st.lists(st.floats(-MAX_OFFSET_NS, MAX_OFFSET_NS), min_size=2, max_size=30))
def test_the_claim_is_never_below_the_mean_offset(offsets):
    watch = ClockWatch("ptp")
    for number, offset_ns in enumerate(offsets):
        claimed = look(watch, number, offset_ns=offset_ns)
    mean = sum(offsets[:16]) / len(offsets[:16])
    if len(offsets) <= 16:  # until then every sample weighs the same
        assert claimed.uncertainty_ns >= abs(mean) - 1
    assert 0 < claimed.uncertainty_ns <= MAX_UNCERTAINTY_NS


def kernel(**changes):
    return KernelClock(
        **{
            "flagged_synchronised": True,
            "max_error_ns": 3_000_000,
            "estimated_error_ns": 0,
            "frequency_ppb": 0.0,
            **changes,
        }
    )


def test_a_flag_without_a_bound_is_no_discipline():
    """As a ptp4l leaves the kernel that has started and follows nothing yet."""
    assert not kernel(max_error_ns=16_000_000_000).synchronised
    assert kernel(max_error_ns=15_999_000_000).synchronised


def test_ntp_is_bounded_by_the_kernels_maximum_error():
    assert ntp_discipline(kernel(flagged_synchronised=False)) is UNKNOWN_DISCIPLINE
    known = ntp_discipline(kernel())
    assert (known.source, known.uncertainty_ns) == (ClockSource.NTP, 3_000_000)
    assert ntp_discipline(kernel(max_error_ns=10**10)).uncertainty_ns == MAX_UNCERTAINTY_NS


def test_the_kernel_is_really_asked():
    now = read_kernel_clock()
    assert ClockWatch("ntp").look().synchronised == now.synchronised
    assert now.max_error_ns >= 0
    assert abs(now.frequency_ppb) <= 500_000 + 100_000 * 1_000  # what adjtimex can ask for


def test_a_shared_clock_has_no_error_between_agents():
    discipline = ClockWatch("shared").look()
    assert (discipline.source, discipline.uncertainty_ns) == (ClockSource.SHARED, 0)


def test_waiting_ends_as_soon_as_the_kernel_says_so():
    answers = iter([False, False, True])
    assert wait_for_discipline(10.0, lambda: kernel(flagged_synchronised=next(answers)))
    assert list(answers) == []


def test_waiting_does_not_last_for_ever():
    asked = []
    assert not wait_for_discipline(
        0.0, lambda: asked.append(1) or kernel(flagged_synchronised=False)
    )
    assert asked == [1]
