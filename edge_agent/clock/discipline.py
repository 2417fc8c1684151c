"""State of CLOCK_REALTIME as frames carry it."""

from dataclasses import dataclass

from capture_protocol.events import ClockSource
from capture_protocol.frame import MAX_UNCERTAINTY_NS


@dataclass(frozen=True, slots=True)
class Discipline:
    """State of CLOCK_REALTIME."""

    source: ClockSource
    synchronised: bool
    """It follows a reference, or did until lately (`holdover`)."""
    holdover: bool = False
    """The reference is lost: the uncertainty grows."""
    offset_ns: int = 0
    """Estimated error against the reference."""
    uncertainty_ns: int = 0
    """Bound (99 %) of the error, until the next look."""
    problem: str = ""
    """One line that says what is wrong and what to do; empty while all is well."""


UNKNOWN_DISCIPLINE = Discipline(
    ClockSource.UNKNOWN,
    synchronised=False,
    uncertainty_ns=MAX_UNCERTAINTY_NS,
    problem="CLOCK_REALTIME is not synchronised: start PTP (ptp4l, phc2sys) or NTP on this node",
)
