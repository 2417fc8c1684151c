"""Watching the discipline of CLOCK_REALTIME, by whatever node.toml says it should come from."""

import time
from dataclasses import replace

from capture_protocol.errors import TuttiError
from capture_protocol.events import ClockSource
from capture_protocol.frame import MAX_UNCERTAINTY_NS
from edge_agent.clock.discipline import UNKNOWN_DISCIPLINE, Discipline, read_kernel
from edge_agent.linuxptp import ClockStatus, ClockUncertainty, derive_status, gather_evidence


class ClockWatch:
    """Looks at the clock whenever asked; remembers enough to bound the error in holdover."""

    def __init__(self, expected: str) -> None:
        """``expected`` is node.toml's `clock`: "shared", "ntp" or "ptp"."""
        self._expected = expected
        self._uncertainty = ClockUncertainty()

    def look(self) -> Discipline:
        """The discipline now. With PTP this runs programs and may take seconds.

        "shared" means that all agents of the rig read one clock, so that there is no error
        between them; its distance from UTC does not matter to the rig.
        """
        if self._expected == "shared":
            return Discipline(ClockSource.SHARED, synchronised=True)
        if self._expected == "ntp":
            return read_kernel()
        try:
            status = derive_status(gather_evidence())
        except TuttiError as error:
            return replace(UNKNOWN_DISCIPLINE, problem=f"PTP cannot be watched: {error}")
        return self.judge(status, time.monotonic_ns())

    def judge(self, status: ClockStatus, now_ns: int) -> Discipline:
        """What a status of linuxptp means for frames exposed at this monotonic instant."""
        if status.disciplined or status.is_grandmaster:
            self._uncertainty.observe(now_ns, status.offset_ns, status.path_delay_ns)
        bound_ns = self._uncertainty.bound_ns(now_ns)
        if bound_ns is None:
            return UNKNOWN_DISCIPLINE
        holdover = not (status.disciplined or status.is_grandmaster)
        return Discipline(
            source=status.source,
            synchronised=True,
            holdover=holdover,
            offset_ns=round(status.offset_ns),
            uncertainty_ns=min(round(bound_ns), MAX_UNCERTAINTY_NS),
            problem="the PTP grandmaster is lost: the clock runs on its own" if holdover else "",
        )
