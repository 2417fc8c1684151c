"""Everything that can be said of a machine's clock at one look, as findings for people."""

import time
from collections.abc import Iterator
from dataclasses import replace

from capture_protocol.events import ClockSource
from capture_protocol.rig import PtpSection
from edge_agent.clock.discipline import Discipline
from edge_agent.clock.watch import LOOK_S, ClockWatch
from edge_agent.linuxptp.finding import Finding, Verdict, passed

TOO_FAR = ("offset", Verdict.FAILED)


def judge_clock(expected: str, ptp: PtpSection) -> Iterator[Finding]:
    """Every point of the chain, then the clock itself. Arguments as in node.toml.

    Looks a second time where the first found the clock too far off: a late packet looks the same.
    """
    watch = ClockWatch(expected, ptp)
    discipline = watch.look()
    if any((finding.point, finding.verdict) == TOO_FAR for finding in watch.findings):
        time.sleep(LOOK_S)
        discipline = watch.look()
    for finding in watch.findings:
        yield replace(finding, point=f"clock: {finding.point}")
    yield _sum_up(discipline)


def _sum_up(discipline: Discipline) -> Finding:
    if not discipline.synchronised:
        return Finding("clock", Verdict.FAILED, discipline.problem)
    if discipline.holdover:
        return Finding("clock", Verdict.WARNING, discipline.problem, "look at the grandmaster")
    if discipline.source is ClockSource.GRANDMASTER:
        return passed("clock", "the rig's reference")
    bound_us = discipline.uncertainty_ns / 1000
    return passed("clock", f"{discipline.source.name.lower()}, within {bound_us:.1f} µs")
