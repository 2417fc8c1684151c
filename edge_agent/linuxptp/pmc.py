"""What `pmc` prints: management responses of a ptp4l (IEEE 1588-2008 clause 15), as text."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from capture_protocol.errors import InputError

# "<TAB>2654a2.fffe.da20e0-1 seq 0 RESPONSE MANAGEMENT PORT_DATA_SET"
_HEADER = re.compile(r"^\s+([0-9a-f.]+-\d+) seq \d+ RESPONSE MANAGEMENT (\w+)\s*$")
_FIELD = re.compile(r"^\t\t(\S+)(?:\s+(.*?))?\s*$")


class PortState(StrEnum):
    """State of a PTP port (IEEE 1588 table 10)."""

    INITIALIZING = "INITIALIZING"
    FAULTY = "FAULTY"
    DISABLED = "DISABLED"
    LISTENING = "LISTENING"
    PRE_MASTER = "PRE_MASTER"
    MASTER = "MASTER"
    PASSIVE = "PASSIVE"
    UNCALIBRATED = "UNCALIBRATED"
    SLAVE = "SLAVE"
    GRAND_MASTER = "GRAND_MASTER"


MASTER_STATES = (PortState.MASTER, PortState.GRAND_MASTER)


@dataclass(frozen=True)
class Response:
    """One management response: which port answered, what was asked, and all fields as text."""

    source: str
    """Port identity, ``<clock identity>-<port number>``; port 0 is the clock itself."""
    dataset: str
    fields: dict[str, str]

    @property
    def clock_identity(self) -> str:
        """Identity of the clock that answered."""
        return self.source.rpartition("-")[0]

    def text(self, field: str) -> str:
        """Return a field. Raises InputError if the response lacks it."""
        if field not in self.fields:
            raise InputError(f"pmc's {self.dataset} of {self.source} has no field {field}")
        return self.fields[field]

    def number(self, field: str) -> float:
        """Return a numeric field. Raises InputError if it is missing or no number."""
        try:
            return float(self.text(field))
        except ValueError as error:
            raise InputError(
                f"pmc's {self.dataset}: {field} is {self.fields[field]!r}, not a number"
            ) from error


@dataclass(frozen=True)
class TimeStatus:
    """TIME_STATUS_NP: the offset the servo saw last, and the grandmaster it follows."""

    master_offset_ns: float
    ingress_time_ns: int
    grandmaster_present: bool
    grandmaster: str

    @classmethod
    def of(cls, response: Response) -> "TimeStatus":
        """Read the response's fields."""
        return cls(
            master_offset_ns=response.number("master_offset"),
            ingress_time_ns=int(response.text("ingress_time")),
            grandmaster_present=response.text("gmPresent") == "true",
            grandmaster=response.text("gmIdentity"),
        )


@dataclass(frozen=True)
class CurrentData:
    """CURRENT_DATA_SET: how far from the grandmaster, in time and in clocks."""

    steps_removed: int
    offset_ns: float
    mean_path_delay_ns: float

    @classmethod
    def of(cls, response: Response) -> "CurrentData":
        """Read the response's fields."""
        return cls(
            steps_removed=int(response.number("stepsRemoved")),
            offset_ns=response.number("offsetFromMaster"),
            mean_path_delay_ns=response.number("meanPathDelay"),
        )


@dataclass(frozen=True)
class PortData:
    """PORT_DATA_SET: the state of a port and how often it exchanges messages."""

    identity: str
    state: PortState
    log_sync_interval: int
    log_announce_interval: int
    announce_receipt_timeout: int

    @classmethod
    def of(cls, response: Response) -> "PortData":
        """Read the response's fields. Raises InputError for a port state that does not exist."""
        state = response.text("portState")
        if state not in PortState.__members__:
            raise InputError(f"pmc reports an unknown port state {state!r}")
        return cls(
            identity=response.text("portIdentity"),
            state=PortState(state),
            log_sync_interval=int(response.number("logSyncInterval")),
            log_announce_interval=int(response.number("logAnnounceInterval")),
            announce_receipt_timeout=int(response.number("announceReceiptTimeout")),
        )


@dataclass(frozen=True)
class PortProperties:
    """PORT_PROPERTIES_NP: which interface, and who stamps the packets."""

    timestamping: str
    interface: str

    @classmethod
    def of(cls, response: Response) -> "PortProperties":
        """Read the response's fields."""
        return cls(response.text("timestamping"), response.text("interface"))


@dataclass(frozen=True)
class ParentData:
    """PARENT_DATA_SET: the master this clock follows, and the grandmaster above it."""

    parent: str
    grandmaster: str
    clock_class: int

    @classmethod
    def of(cls, response: Response) -> "ParentData":
        """Read the response's fields."""
        return cls(
            parent=response.text("parentPortIdentity"),
            grandmaster=response.text("grandmasterIdentity"),
            clock_class=int(response.number("gm.ClockClass")),
        )


@dataclass(frozen=True)
class TimeProperties:
    """TIME_PROPERTIES_DATA_SET: whether PTP time is TAI, and its distance from UTC."""

    utc_offset_s: int
    utc_offset_valid: bool
    ptp_timescale: bool

    @classmethod
    def of(cls, response: Response) -> "TimeProperties":
        """Read the response's fields."""
        return cls(
            utc_offset_s=int(response.number("currentUtcOffset")),
            utc_offset_valid=response.text("currentUtcOffsetValid") == "1",
            ptp_timescale=response.text("ptpTimescale") == "1",
        )


DATASETS = {
    "TIME_STATUS_NP": TimeStatus,
    "CURRENT_DATA_SET": CurrentData,
    "PORT_DATA_SET": PortData,
    "PORT_PROPERTIES_NP": PortProperties,
    "PARENT_DATA_SET": ParentData,
    "TIME_PROPERTIES_DATA_SET": TimeProperties,
}
"""The data sets this project reads, by the name `pmc` asks for them."""

Dataset = TypeVar(
    "Dataset", TimeStatus, CurrentData, PortData, PortProperties, ParentData, TimeProperties
)


def parse_pmc(text: str) -> list[Response]:
    """Return every management response in `pmc`'s output, in order; other lines are ignored."""
    return list(_responses(text.splitlines()))


def find(responses: Iterable[Response], dataset: type[Dataset]) -> Dataset | None:
    """Return the first answer of one kind, or None if nobody answered.

    Raises InputError for an answer that lacks a field.
    """
    name = next(name for name, kind in DATASETS.items() if kind is dataset)
    for response in responses:
        if response.dataset == name:
            return dataset.of(response)
    return None


def _responses(lines: Iterable[str]) -> Iterator[Response]:
    current: Response | None = None
    for line in lines:
        header, field = _HEADER.match(line), _FIELD.match(line)
        if header:
            if current:
                yield current
            current = Response(header[1], header[2], {})
        elif field and current:
            current.fields[field[1]] = field[2] or ""
        elif current:
            yield current
            current = None
    if current:
        yield current
