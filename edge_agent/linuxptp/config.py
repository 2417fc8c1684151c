"""Configurations for ptp4l and phc2sys. systemd starts the programs; this only writes for them.

Written for linuxptp 3.1.1 (Debian 12, Raspberry Pi OS): it rejects ``uds_ro_address`` and says
``slaveOnly``/``masterOnly`` where version 4 prefers ``clientOnly``/``serverOnly`` (and still
accepts the old names).
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from capture_protocol.errors import InputError

UDS_ADDRESS = "/var/run/ptp4l"
PTP4L_PATH = "/etc/linuxptp/ptp4l.conf"
"""Where Debian's ptp4l@.service reads it."""
PHC2SYS_PATH = "/etc/default/phc2sys"
"""Where our phc2sys@.service reads its options."""
FIRST_STEP_S, STEP_S = "0.00002", "0.001"
"""Errors that are stepped instead of slewed: when a program starts, and later."""
_WRITTEN = "# written by edge-agent"
_INTERFACE = re.compile(r"^[A-Za-z0-9_.-]{1,15}$")  # as the kernel allows it (IFNAMSIZ)
_UDS = re.compile(r"^/[\w./-]{1,106}$")  # sun_path has 108 bytes


class Role(StrEnum):
    """What a node's clock is to the rig."""

    GRANDMASTER = "grandmaster"
    FOLLOWER = "follower"


class Stamping(StrEnum):
    """Who stamps PTP packets."""

    HARDWARE = "hardware"
    SOFTWARE = "software"


@dataclass(frozen=True)
class PtpSetup:
    """How one node takes part in the rig's PTP domain.

    Raises InputError for an interface or socket path that could not be one, or numbers out of
    range.
    """

    role: Role
    stamping: Stamping
    interface: str
    domain: int = 0
    priority: int = 64
    """priority1 of the grandmaster: the lowest wins; followers never become master."""
    log_sync_interval: int = -3
    """Eight exchanges per second: averages the jitter of software stamps."""
    uds_address: str = UDS_ADDRESS

    def __post_init__(self) -> None:
        """Check what will be written into a file that another program obeys."""
        if not _INTERFACE.match(self.interface):
            raise InputError(f"{self.interface!r} is not the name of a network interface")
        if not _UDS.match(self.uds_address):
            raise InputError(f"{self.uds_address!r} is not an absolute path of a socket")
        numbers_fit = (
            0 <= self.domain <= 127
            and 0 <= self.priority <= 255
            and -7 <= self.log_sync_interval <= 2
        )
        if not numbers_fit:
            raise InputError("PTP domain is 0-127, priority 0-255, log sync interval -7 to 2")


def ptp4l_config(setup: PtpSetup) -> str:
    """Return a ptp4l.conf."""
    follower = setup.role is Role.FOLLOWER
    software = setup.stamping is Stamping.SOFTWARE
    options: dict[str, object] = {
        "domainNumber": setup.domain,
        "time_stamping": setup.stamping.value,
        "uds_address": setup.uds_address,
        "logSyncInterval": setup.log_sync_interval,
        "logMinDelayReqInterval": setup.log_sync_interval,
        "logAnnounceInterval": 0,
        "summary_interval": 0,
        "slaveOnly" if follower else "masterOnly": 1,
        "priority1": 255 if follower else setup.priority,
    }
    if follower:
        # A larger error than 1 ms is stepped, so that the node is usable again at once: the
        # agent sees the step and marks the frames. Smaller ones are slewed. ptp4l's own check of
        # the clock is off: it takes a stall of 25 ms, its own or the machine's, for a jump of
        # the clock, forgets all that the servo has learned, and steps.
        options |= {"first_step_threshold": FIRST_STEP_S, "step_threshold": STEP_S}
        options |= {"sanity_freq_limit": 0}
    if software:
        # linreg settles in seconds where the PI servo takes half a minute on software stamps.
        options |= {"clock_servo": "linreg"} if follower else {"free_running": 1}
    return _ini(options, f"[{setup.interface}]")


def phc2sys_arguments(setup: PtpSetup) -> list[str]:
    """Return phc2sys's arguments: from the interface to a follower's clock, back on a grandmaster.

    With hardware stamps ptp4l announces the PTP timescale, so the cards keep TAI: ``-w`` makes
    both sides apply ptp4l's own offset to UTC. An offset of zero on one side alone would put the
    followers 37 s behind. Raises InputError for software stamps: ptp4l then disciplines
    CLOCK_REALTIME by itself, and phc2sys would fight it.
    """
    if setup.stamping is not Stamping.HARDWARE:
        raise InputError(
            "phc2sys has nothing to do with software stamps: ptp4l disciplines CLOCK_REALTIME",
            hint="do not enable phc2sys on this node",
        )
    source, sink = setup.interface, "CLOCK_REALTIME"
    if setup.role is Role.GRANDMASTER:
        source, sink = sink, source
    where = ["-n", str(setup.domain), "-z", setup.uds_address]
    return [*where, "-F", FIRST_STEP_S, "-S", STEP_S, "-w", "-s", source, "-c", sink]


def phc2sys_environment(setup: PtpSetup) -> str:
    """Return the environment file of phc2sys@.service. Raises InputError as the arguments do."""
    return f"{_WRITTEN}\nPHC2SYS_OPTIONS={' '.join(phc2sys_arguments(setup))}\n"


def _ini(options: dict[str, object], *sections: str) -> str:
    width = max(map(len, options)) + 2
    lines = [f"{name:<{width}}{value}" for name, value in options.items()]
    return "\n".join([_WRITTEN, "[global]", *lines, *sections]) + "\n"
