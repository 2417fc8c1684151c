"""The release timer, the rights it gets, and the clock that an agent reports."""

import multiprocessing
import os
import time

import pytest

from capture_protocol.events import ClockSource
from capture_protocol.rig import RealtimeSection
from edge_agent.capture import RealtimeRights, ReleaseTimer, sleep_until, take_rights
from edge_agent.clock.watch import ClockWatch

MS = 1_000_000


@pytest.mark.parametrize("spin_us", [0, 200])
def test_a_release_is_never_early(spin_us):
    timer = ReleaseTimer(spin_us)
    for wait_ns in (0, 1000, MS, 5 * MS):
        target_ns = time.monotonic_ns() + wait_ns
        returned_ns = timer.wait(target_ns)
        assert target_ns <= returned_ns <= time.monotonic_ns()


def test_an_instant_that_has_passed_returns_at_once():
    timer = ReleaseTimer(200)
    before_ns = time.monotonic_ns()
    assert before_ns <= timer.wait(before_ns - 10**9) <= time.monotonic_ns()


def test_sleeping_goes_on_after_an_interruption():
    target_ns = time.monotonic_ns() + 3 * MS
    sleep_until(target_ns)
    assert time.monotonic_ns() >= target_ns


def _report_rights(pipe, wanted, drop):
    if drop:
        os.setgid(65534)
        os.setuid(65534)
    rights = take_rights(wanted)
    pipe.send((str(rights), os.sched_getscheduler(0), os.sched_getaffinity(0)))


def rights_in_a_child(wanted, drop=False):
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_report_rights, args=(theirs, wanted, drop))
    child.start()
    answer = ours.recv()
    child.join()
    return answer


def test_what_is_claimed_is_what_the_kernel_granted():
    cpu = max(os.sched_getaffinity(0))
    text, scheduler, cpus = rights_in_a_child(RealtimeSection(cpu=cpu))
    assert ("fifo50" in text) == (scheduler == os.SCHED_FIFO)
    assert text.endswith(f"cpu{cpu}")
    assert cpus == {cpu}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give rights up in a child")
def test_missing_rights_are_recorded_and_not_fatal():
    text, scheduler, _ = rights_in_a_child(RealtimeSection(cpu=4095), drop=True)
    assert (text, scheduler) == ("spin", os.SCHED_OTHER)


def test_a_mode_names_all_that_was_granted():
    assert str(RealtimeRights(spin=False, fifo=0, locked=False, cpu=-1)) == "sleep"
    assert str(RealtimeRights(spin=True, fifo=7, locked=True, cpu=3)) == "spin+fifo7+mlock+cpu3"


def test_a_shared_clock_has_no_error_between_agents():
    discipline = ClockWatch("shared").look()
    assert (discipline.source, discipline.synchronised) == (ClockSource.SHARED, True)
    assert discipline.uncertainty_ns == 0


def test_without_linuxptp_the_clock_is_unsynchronised_and_says_why(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    discipline = ClockWatch("ptp").look()
    assert not discipline.synchronised
    assert discipline.problem
