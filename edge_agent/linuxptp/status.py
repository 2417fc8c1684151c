"""From evidence to verdict: is CLOCK_REALTIME really disciplined, by what, and how well?

A node whose ptp4l says SLAVE may still run on NTP alone: with hardware stamps ptp4l disciplines
the network card's clock, and without phc2sys nobody carries that time into CLOCK_REALTIME.
"""

from dataclasses import dataclass
from enum import StrEnum

from capture_protocol.events import ClockSource
from edge_agent.linuxptp.config import Stamping
from edge_agent.linuxptp.daemons import Daemon
from edge_agent.linuxptp.ethtool import Timestamping
from edge_agent.linuxptp.logs import LogLine, ServoSample, ServoSummary
from edge_agent.linuxptp.pmc import (
    MASTER_STATES,
    CurrentData,
    ParentData,
    PortData,
    PortProperties,
    PortState,
    Response,
    TimeStatus,
    find,
)

SERVO_LOCKED = 2


class Driver(StrEnum):
    """What steers CLOCK_REALTIME."""

    NONE = "nothing"
    NTP = "NTP"
    PTP4L = "ptp4l"
    PHC2SYS = "phc2sys"
    SEVERAL = "several that fight each other"


@dataclass(frozen=True)
class ClockEvidence:
    """Everything that was read of one node's clock chain. Absent evidence is None or empty."""

    responses: tuple[Response, ...] = ()
    """Answers of the local ptp4l (`pmc -b 0`); empty if it did not answer."""
    timestamping: Timestamping | None = None
    """`ethtool -T` of the interface that ptp4l uses."""
    phcs: tuple[int, ...] = ()
    """Indices of all /dev/ptp* of the node."""
    daemons: tuple[Daemon, ...] = ()
    phc2sys: LogLine | None = None
    """The newest servo line that phc2sys logged."""
    ntp_synchronised: bool | None = None
    """Whether NTP has set the clock of a grandmaster; None: not asked, or nobody tells."""
    now_monotonic_ns: int = 0


@dataclass(frozen=True)
class ClockStatus:
    """What is known of a node's CLOCK_REALTIME."""

    source: ClockSource
    driver: Driver
    disciplined: bool
    """Whether CLOCK_REALTIME follows the rig's time now."""
    is_grandmaster: bool
    grandmaster: str
    port_state: PortState | None
    stamping: Stamping | None
    interface: str
    offset_ns: float
    """CLOCK_REALTIME minus the grandmaster, as the servos saw it last."""
    path_delay_ns: float
    steps_removed: int
    phcs: tuple[int, ...]
    phc: int | None
    """The hardware clock of ptp4l's interface."""
    phc2sys_age_ns: int | None
    """Age of phc2sys's newest servo line."""
    ingress_time_ns: int | None = None
    """When the last synchronisation arrived, by the clock that ptp4l disciplines; another value
    means another message."""
    sync_interval_s: float = 1.0


def derive_status(evidence: ClockEvidence) -> ClockStatus:
    """Derive what disciplines CLOCK_REALTIME. Raises InputError for answers that lack a field."""
    port = find(evidence.responses, PortData)
    properties = find(evidence.responses, PortProperties)
    time_status = find(evidence.responses, TimeStatus)
    current = find(evidence.responses, CurrentData)
    parent = find(evidence.responses, ParentData)
    state = port.state if port else None
    stamping = _stamping(properties)
    master = state in MASTER_STATES
    driver = find_driver(evidence.daemons, stamping, master)
    sample = _servo_line(evidence.phc2sys)
    phc2sys_ok = sample is not None and _locked(sample)
    return ClockStatus(
        source=_source(driver, stamping, master),
        driver=driver,
        disciplined=_disciplined(driver, state, master, phc2sys_ok),
        is_grandmaster=master,
        grandmaster=_grandmaster(parent, time_status),
        port_state=state,
        stamping=stamping,
        interface=properties.interface if properties else "",
        offset_ns=_offset_ns(time_status, current, sample, driver),
        path_delay_ns=current.mean_path_delay_ns if current else 0.0,
        steps_removed=current.steps_removed if current else 0,
        phcs=evidence.phcs,
        phc=evidence.timestamping.phc if evidence.timestamping else None,
        phc2sys_age_ns=_age_ns(evidence),
        ingress_time_ns=time_status.ingress_time_ns if time_status else None,
        sync_interval_s=2.0**port.log_sync_interval if port else 1.0,
    )


def find_driver(
    daemons: tuple[Daemon, ...], stamping: Stamping | None, is_grandmaster: bool
) -> Driver:
    """Return what steers CLOCK_REALTIME among the running programs.

    With software stamps ptp4l itself does (on a grandmaster it runs free and steers nothing);
    with hardware stamps only a phc2sys that writes to CLOCK_REALTIME does.
    """
    drivers = set()
    if any(daemon.is_ntp for daemon in daemons):
        drivers.add(Driver.NTP)
    if any(daemon.name == "phc2sys" and daemon.sink == "CLOCK_REALTIME" for daemon in daemons):
        drivers.add(Driver.PHC2SYS)
    ptp4l = any(daemon.name == "ptp4l" for daemon in daemons)
    if ptp4l and stamping is Stamping.SOFTWARE and not is_grandmaster:
        drivers.add(Driver.PTP4L)
    if len(drivers) > 1:
        return Driver.SEVERAL
    return drivers.pop() if drivers else Driver.NONE


def _stamping(properties: PortProperties | None) -> Stamping | None:
    if properties is None:
        return None
    hardware = {"HARDWARE", "LEGACY_HW", "ONE_STEP", "ONESTEP", "P2P1STEP"}
    return Stamping.HARDWARE if properties.timestamping in hardware else Stamping.SOFTWARE


def _source(driver: Driver, stamping: Stamping | None, master: bool) -> ClockSource:
    if master and driver in (Driver.NTP, Driver.NONE):
        return ClockSource.GRANDMASTER
    if driver is Driver.NTP:
        return ClockSource.NTP
    if driver is Driver.PHC2SYS:
        return ClockSource.PTP_HARDWARE
    if driver is Driver.PTP4L and stamping is Stamping.SOFTWARE:
        return ClockSource.PTP_SOFTWARE
    return ClockSource.UNKNOWN


def _disciplined(
    driver: Driver, state: PortState | None, master: bool, phc2sys_locked: bool
) -> bool:
    """The grandmaster is its own reference: its clock is the rig's, whatever steers it."""
    if master:
        return driver in (Driver.NTP, Driver.NONE)
    if state is not PortState.SLAVE:
        return False
    return driver is Driver.PTP4L or (driver is Driver.PHC2SYS and phc2sys_locked)


def _grandmaster(parent: ParentData | None, time_status: TimeStatus | None) -> str:
    if time_status and time_status.grandmaster_present:
        return time_status.grandmaster
    return parent.grandmaster if parent else ""


def _servo_line(line: LogLine | None) -> ServoSample | ServoSummary | None:
    if line and isinstance(line.message, ServoSample | ServoSummary):
        return line.message
    return None


def _locked(message: ServoSample | ServoSummary) -> bool:
    return isinstance(message, ServoSummary) or message.servo_state == SERVO_LOCKED


def _offset_ns(
    time_status: TimeStatus | None,
    current: CurrentData | None,
    phc2sys: ServoSample | ServoSummary | None,
    driver: Driver,
) -> float:
    """Add up the chain: grandmaster to network card (ptp4l), and on to the clock (phc2sys)."""
    offset_ns = time_status.master_offset_ns if time_status else 0.0
    if time_status is None and current:
        offset_ns = current.offset_ns
    if driver is not Driver.PHC2SYS or phc2sys is None:
        return offset_ns
    return offset_ns + (
        phc2sys.offset_ns if isinstance(phc2sys, ServoSample) else float(phc2sys.rms_ns)
    )


def _age_ns(evidence: ClockEvidence) -> int | None:
    if evidence.phc2sys is None:
        return None
    return evidence.now_monotonic_ns - evidence.phc2sys.monotonic_ns
