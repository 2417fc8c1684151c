"""linuxptp on a node: its configuration, its answers and logs, and what they mean together.

Starts nothing: systemd runs ptp4l and phc2sys. Parsers and verdicts are pure; only
`edge_agent.linuxptp.query` asks programs, through the `sh` package::

    evidence = gather_evidence()                       # pmc, ethtool, journal, process table
    status = derive_status(evidence)                   # who disciplines CLOCK_REALTIME, how far off
    findings = judge(evidence, status, Role.FOLLOWER)  # verdict and mend for every point

    model = ClockUncertainty()                         # 99 % bound of the clock's error
    model.observe(now_ns, status.offset_ns, status.path_delay_ns, frequency_ppb)
    model.bound_ns(later_ns)                           # grows while nothing is observed
"""

from edge_agent.linuxptp.config import (
    PHC2SYS_PATH,
    PTP4L_PATH,
    PtpSetup,
    Role,
    Stamping,
    phc2sys_arguments,
    phc2sys_environment,
    ptp4l_config,
)
from edge_agent.linuxptp.daemons import Daemon, find_daemons, read_processes
from edge_agent.linuxptp.ethtool import Timestamping, parse_ethtool
from edge_agent.linuxptp.finding import Finding, Verdict
from edge_agent.linuxptp.findings import MAX_OFFSET_NS, judge
from edge_agent.linuxptp.holdover import ClockUncertainty
from edge_agent.linuxptp.logs import (
    LogLine,
    Notice,
    PortTransition,
    ServoSample,
    ServoSummary,
    parse_log,
    parse_log_line,
)
from edge_agent.linuxptp.pmc import (
    CurrentData,
    ParentData,
    PortData,
    PortProperties,
    PortState,
    Response,
    TimeProperties,
    TimeStatus,
    find,
    parse_pmc,
)
from edge_agent.linuxptp.query import gather_evidence, query_ethtool, query_phc2sys, query_pmc
from edge_agent.linuxptp.status import ClockEvidence, ClockStatus, Driver, derive_status

__all__ = [
    "MAX_OFFSET_NS",
    "PHC2SYS_PATH",
    "PTP4L_PATH",
    "ClockEvidence",
    "ClockStatus",
    "ClockUncertainty",
    "CurrentData",
    "Daemon",
    "Driver",
    "Finding",
    "LogLine",
    "Notice",
    "ParentData",
    "PortData",
    "PortProperties",
    "PortState",
    "PortTransition",
    "PtpSetup",
    "Response",
    "Role",
    "ServoSample",
    "ServoSummary",
    "Stamping",
    "TimeProperties",
    "TimeStatus",
    "Timestamping",
    "Verdict",
    "derive_status",
    "find",
    "find_daemons",
    "gather_evidence",
    "judge",
    "parse_ethtool",
    "parse_log",
    "parse_log_line",
    "parse_pmc",
    "phc2sys_arguments",
    "phc2sys_environment",
    "ptp4l_config",
    "query_ethtool",
    "query_phc2sys",
    "query_pmc",
    "read_processes",
]
