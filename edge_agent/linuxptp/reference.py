"""The verdict on the rig's reference: the grandmaster's own clock and its network card's."""

from edge_agent.linuxptp.daemons import Daemon
from edge_agent.linuxptp.finding import Finding, Verdict, passed
from edge_agent.linuxptp.status import ClockEvidence, ClockStatus, Driver

_APART = "the cameras agree with each other but not with UTC"


def judge_reference(evidence: ClockEvidence, status: ClockStatus) -> Finding:
    """Judge what steers a grandmaster's CLOCK_REALTIME.

    A rig without a way to UTC is a sound rig, so that is a warning; another reference than UTC,
    which would move the clock under all cameras, is not.
    """
    point, driver = "CLOCK_REALTIME", status.driver
    if driver is Driver.NTP:
        return _ntp(point, evidence)
    if driver is Driver.NONE:
        mend = "enable NTP on the grandmaster: systemctl enable --now chrony"
        return Finding(point, Verdict.WARNING, f"runs free: {_APART}", mend)
    return Finding(
        point,
        Verdict.FAILED,
        f"steered by {driver.value}, though it is the reference",
        "run phc2sys from CLOCK_REALTIME to the interface, not back",
    )


def judge_card(evidence: ClockEvidence, status: ClockStatus) -> Finding:
    """Judge whether the clock that stamps a grandmaster's packets is kept at its time."""
    point = "card's clock"
    if any(_feeds(daemon, status) for daemon in evidence.daemons):
        return passed(point, "kept at CLOCK_REALTIME by phc2sys")
    return Finding(
        point,
        Verdict.FAILED,
        "not kept at CLOCK_REALTIME: all followers are given a wrong time",
        "start phc2sys: systemctl enable --now phc2sys@<interface>",
    )


def _ntp(point: str, evidence: ClockEvidence) -> Finding:
    if evidence.ntp_synchronised:
        return passed(point, "UTC by NTP, the rig's reference")
    if evidence.ntp_synchronised is None:
        text = "NTP runs; nobody tells whether it has reached a server"
        return Finding(point, Verdict.WARNING, text, "look with: timedatectl")
    text = f"NTP runs but has reached no server: {_APART}"
    return Finding(point, Verdict.WARNING, text, "let it reach one, and look with: timedatectl")


def _feeds(daemon: Daemon, status: ClockStatus) -> bool:
    if daemon.name != "phc2sys":
        return False
    ours = (status.interface, f"/dev/ptp{status.phc}")
    return daemon.both_ways or (daemon.source == "CLOCK_REALTIME" and daemon.sink in ours)
