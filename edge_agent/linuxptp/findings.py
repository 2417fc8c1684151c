"""The verdict on each point of a node's clock chain, and how to mend what failed."""

from edge_agent.linuxptp.config import Role, Stamping
from edge_agent.linuxptp.finding import Finding, Verdict, passed
from edge_agent.linuxptp.pmc import PortState
from edge_agent.linuxptp.reference import judge_card, judge_reference
from edge_agent.linuxptp.status import ClockEvidence, ClockStatus, Driver

MAX_OFFSET_NS = 100_000
"""A larger offset is a servo that has not settled; software stamps jitter by far less."""
MAX_PHC2SYS_AGE_NS = 10_000_000_000
"""phc2sys logs every second by default; ten times that is silence."""


def judge(evidence: ClockEvidence, status: ClockStatus, role: Role) -> list[Finding]:
    """Judge every point of a node's clock chain for its role in the rig."""
    if not evidence.responses:
        return [_silent(evidence, status)]
    findings = [
        _port(status, role),
        _grandmaster(status, role),
        _stamping(evidence, status),
        _realtime(evidence, status, role),
        _phcs(evidence, status),
    ]
    if status.driver is Driver.PHC2SYS:
        findings.append(_phc2sys(status))
    if role is Role.FOLLOWER:
        findings.append(_offset(status))
    elif status.stamping is Stamping.HARDWARE:
        findings.append(judge_card(evidence, status))
    return findings


def _silent(evidence: ClockEvidence, status: ClockStatus) -> Finding:
    running = any(daemon.name == "ptp4l" for daemon in evidence.daemons)
    text = f"ptp4l does not answer; CLOCK_REALTIME is steered by {status.driver.value}"
    mend = (
        "ptp4l runs, but its socket cannot be reached: run as root or in the group that owns it, "
        "and compare uds_address"
        if running
        else "start it: systemctl enable --now ptp4l@<interface>"
    )
    return Finding("ptp4l", Verdict.FAILED, text, mend)


_PORT_MENDS = {
    PortState.UNCALIBRATED: "wait until the servo has settled (seconds with linreg, half a minute "
    "with pi); if it stays so, remove free_running from ptp4l.conf",
    PortState.LISTENING: "no master is heard: check cable, switch, domainNumber, multicast, and "
    "that UDP ports 319 and 320 are open",
    PortState.FAULTY: "read `journalctl -u ptp4l@<interface>`: the link is down, or transmit "
    "stamps do not arrive (raise tx_timestamp_timeout; some kernels have a regression)",
    PortState.PASSIVE: "two masters share this network: only one node may be the grandmaster",
    PortState.MASTER: "this node should follow but is master: set slaveOnly 1, and start the "
    "grandmaster",
    PortState.SLAVE: "this node should be grandmaster but follows another: set masterOnly 1 and "
    "the lowest priority1",
}


def _port(status: ClockStatus, role: Role) -> Finding:
    wanted = PortState.MASTER if role is Role.GRANDMASTER else PortState.SLAVE
    state = status.port_state
    if state is wanted or (status.is_grandmaster and role is Role.GRANDMASTER):
        return passed("port state", f"{state} on {status.interface or 'its interface'}")
    if state is None:
        return Finding(
            "port state", Verdict.FAILED, "ptp4l does not tell its port state", "restart ptp4l"
        )
    mend = _PORT_MENDS.get(state, "wait, then read `journalctl -u ptp4l@<interface>`")
    return Finding("port state", Verdict.FAILED, f"{state}, not {wanted}", mend)


def _grandmaster(status: ClockStatus, role: Role) -> Finding:
    if role is Role.GRANDMASTER or status.grandmaster:
        text = f"{status.grandmaster or 'this node'}, {status.steps_removed} steps away"
        return passed("grandmaster", text)
    return Finding(
        "grandmaster", Verdict.FAILED, "no grandmaster is known", "start ptp4l on the grandmaster"
    )


def _stamping(evidence: ClockEvidence, status: ClockStatus) -> Finding:
    ability = evidence.timestamping
    if status.stamping is Stamping.HARDWARE:
        if ability and not ability.hardware:
            return Finding(
                "stamping",
                Verdict.FAILED,
                f"ptp4l wants hardware stamps, {ability.interface} has none",
                "set time_stamping software (a Pi 4B has no hardware stamps; on a CM4, Pi 5 or "
                "CM5 try another kernel: several lost them)",
            )
        return passed("stamping", f"hardware, /dev/ptp{status.phc}" if ability else "hardware")
    if ability and ability.hardware:
        return Finding(
            "stamping",
            Verdict.WARNING,
            f"software, although {ability.interface} could stamp in hardware",
            "set time_stamping hardware and start phc2sys: errors shrink from microseconds to "
            "below one",
        )
    return passed("stamping", "software")


def _realtime(evidence: ClockEvidence, status: ClockStatus, role: Role) -> Finding:
    point, driver = "CLOCK_REALTIME", status.driver
    if driver is Driver.SEVERAL:
        return Finding(
            point,
            Verdict.FAILED,
            f"steered by {driver.value}: {_rivals(evidence)}",
            _several_mend(status, role),
        )
    if role is Role.GRANDMASTER:
        return judge_reference(evidence, status)
    if driver is Driver.NTP:
        return Finding(
            point,
            Verdict.FAILED,
            "steered by NTP alone, not by PTP",
            "start phc2sys (ptp4l disciplines only the network card's clock) and disable NTP here: "
            "systemctl disable --now systemd-timesyncd chrony",
        )
    if driver is Driver.NONE:
        return Finding(
            point,
            Verdict.FAILED,
            "steered by nothing",
            "start phc2sys: systemctl enable --now phc2sys@<interface>",
        )
    if not status.disciplined:
        return Finding(
            point,
            Verdict.FAILED,
            f"{driver.value} runs but is not locked",
            "wait until it has settled, then read its log",
        )
    return passed(point, f"disciplined by {driver.value}")


def _rivals(evidence: ClockEvidence) -> str:
    return ", ".join(sorted({daemon.name for daemon in evidence.daemons}))


def _several_mend(status: ClockStatus, role: Role) -> str:
    if role is Role.FOLLOWER and status.stamping is Stamping.SOFTWARE:
        return "keep ptp4l alone: disable phc2sys and NTP (systemd-timesyncd, chrony) on this node"
    if role is Role.FOLLOWER:
        return "keep phc2sys alone: systemctl disable --now systemd-timesyncd chrony"
    return "keep NTP alone: disable phc2sys towards CLOCK_REALTIME"


def _phcs(evidence: ClockEvidence, status: ClockStatus) -> Finding:
    """On boards with several hardware clocks phc2sys must read the one that ptp4l disciplines."""
    count = len(status.phcs)
    if status.stamping is not Stamping.HARDWARE:
        return passed("hardware clocks", f"{count}, not used")
    for daemon in evidence.daemons:
        device = daemon.source if daemon.name == "phc2sys" else ""
        if device.startswith("/dev/ptp") and device != f"/dev/ptp{status.phc}":
            return Finding(
                "hardware clocks",
                Verdict.FAILED,
                f"phc2sys reads {device}, ptp4l disciplines /dev/ptp{status.phc}",
                f"name the interface instead: phc2sys -s {status.interface}",
            )
    return passed("hardware clocks", f"{count}, /dev/ptp{status.phc} is used")


def _phc2sys(status: ClockStatus) -> Finding:
    age_ns = status.phc2sys_age_ns
    if age_ns is None:
        return Finding(
            "phc2sys",
            Verdict.WARNING,
            "runs, but its log could not be read",
            "add the agent's user to the group systemd-journal",
        )
    if age_ns > MAX_PHC2SYS_AGE_NS:
        return Finding(
            "phc2sys",
            Verdict.FAILED,
            f"silent for {age_ns / 1e9:.0f} s",
            "restart it: systemctl restart phc2sys@<interface>",
        )
    return passed("phc2sys", f"reported {age_ns / 1e9:.1f} s ago")


def _offset(status: ClockStatus) -> Finding:
    text = f"{status.offset_ns:+.0f} ns, path delay {status.path_delay_ns:.0f} ns"
    if abs(status.offset_ns) <= MAX_OFFSET_NS:
        return passed("offset", text)
    return Finding(
        "offset",
        Verdict.FAILED,
        text,
        "wait until the servo has settled; if it stays, look for load on the network "
        "or a second master",
    )
