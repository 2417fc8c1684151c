"""Asking this node: pmc, ethtool and the journal, through the `sh` package."""

import os
import tempfile
import time
from pathlib import Path

import sh

from capture_protocol.errors import EnvironmentLackError, TuttiError
from edge_agent.linuxptp.config import UDS_ADDRESS
from edge_agent.linuxptp.daemons import find_daemons, read_processes
from edge_agent.linuxptp.ethtool import Timestamping, parse_ethtool
from edge_agent.linuxptp.logs import LogLine, ServoSample, ServoSummary, parse_log
from edge_agent.linuxptp.pmc import (
    DATASETS,
    MASTER_STATES,
    PortData,
    PortProperties,
    Response,
    find,
    parse_pmc,
)
from edge_agent.linuxptp.status import ClockEvidence

_TIMEOUT_S = 3  # pmc waits 0.1 s for answers of one ptp4l; more is a hanging machine
_JOURNAL_LINES = 20
_SBIN = ("/usr/sbin", "/sbin", "/usr/local/sbin")  # not on the PATH of ordinary users


def query_pmc(uds_address: str = UDS_ADDRESS, domain: int = 0) -> list[Response]:
    """Ask the local ptp4l for every data set that `DATASETS` names; empty if it does not answer.

    pmc needs a socket of its own for the answers: it goes into systemd's runtime folder where
    there is one, because the default (/var/run) belongs to root. Raises EnvironmentLackError if
    pmc is not installed, TuttiError if it fails.
    """
    questions = [f"GET {name}" for name in DATASETS]
    with tempfile.TemporaryDirectory(dir=os.environ.get("RUNTIME_DIRECTORY")) as folder:
        where = ("-d", str(domain), "-s", uds_address, "-i", f"{folder}/pmc")
        return parse_pmc(_run("pmc", "linuxptp", "-u", "-b", "0", *where, *questions))


def query_ethtool(interface: str) -> Timestamping | None:
    """Return the stamping abilities of an interface; None if ethtool says nothing of it.

    Raises EnvironmentLackError if ethtool is not installed, TuttiError if it fails.
    """
    answers = parse_ethtool(_run("ethtool", "ethtool", "-T", interface))
    return answers[0] if answers else None


def query_phc2sys(unit: str) -> LogLine | None:
    """Return the newest servo line that a phc2sys unit wrote to the journal, if any.

    Raises EnvironmentLackError where there is no journal, TuttiError if it cannot be read.
    """
    arguments = ("--no-pager", "-o", "cat", "-u", unit, "-n", str(_JOURNAL_LINES))
    lines = parse_log(_run("journalctl", "systemd", *arguments).splitlines())
    servo = [line for line in lines if isinstance(line.message, ServoSample | ServoSummary)]
    return servo[-1] if servo else None


def query_ntp() -> bool | None:
    """Return whether NTP has set this machine's clock; None where nobody tells.

    systemd tells, not adjtimex(2): services that must never set a clock may not call that.
    """
    question = ("show", "--property=NTPSynchronized", "--value")
    try:
        answer = _run("timedatectl", "systemd", *question).strip()
    except TuttiError:
        return None
    return {"yes": True, "no": False}.get(answer)


def gather_evidence(
    uds_address: str = UDS_ADDRESS, domain: int = 0, timestamping: Timestamping | None = None
) -> ClockEvidence:
    """Read the whole clock chain of this node.

    What cannot be read is left out: the findings then say so. ``timestamping`` is what ethtool
    said before, if it is known: it does not change. Raises EnvironmentLackError if linuxptp is
    not installed.
    """
    responses = tuple(query_pmc(uds_address, domain))
    properties, port = find(responses, PortProperties), find(responses, PortData)
    interface = properties.interface if properties else ""
    daemons = find_daemons(read_processes())
    copied = any(daemon.name == "phc2sys" for daemon in daemons)
    return ClockEvidence(
        responses=responses,
        timestamping=timestamping or _optional_ethtool(interface),
        phcs=hardware_clocks(),
        daemons=daemons,
        phc2sys=_optional_phc2sys(interface) if copied else None,
        ntp_synchronised=query_ntp() if port and port.state in MASTER_STATES else None,
        now_monotonic_ns=time.monotonic_ns(),
    )


def hardware_clocks(devices: Path = Path("/dev")) -> tuple[int, ...]:
    """Return the indices of the PTP hardware clocks of this node."""
    names = (path.name.removeprefix("ptp") for path in devices.glob("ptp*"))
    return tuple(sorted(int(name) for name in names if name.isdigit()))


def _optional_ethtool(interface: str) -> Timestamping | None:
    try:
        return query_ethtool(interface) if interface else None
    except TuttiError:
        return None


def _optional_phc2sys(interface: str) -> LogLine | None:
    try:
        return query_phc2sys(f"phc2sys@{interface}") if interface else None
    except TuttiError:
        return None


def _run(program: str, package: str, *arguments: str) -> str:
    search = [*os.environ.get("PATH", "").split(":"), *_SBIN]
    try:
        command = sh.Command(program, search_paths=search)
        return str(command(*arguments, _timeout=_TIMEOUT_S, _tty_out=False))
    except sh.CommandNotFound as error:
        raise EnvironmentLackError(
            f"{program} is not installed", hint=f"sudo apt install {package}"
        ) from error
    except sh.TimeoutException as error:
        raise TuttiError(f"{program} did not finish within {_TIMEOUT_S} s") from error
    except sh.ErrorReturnCode as error:
        reason = error.stderr.decode(errors="replace").strip().splitlines()
        raise TuttiError(
            f"{program} failed: {reason[-1] if reason else error.exit_code}"
        ) from error
