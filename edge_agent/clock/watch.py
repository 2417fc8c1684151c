"""Watching the discipline of CLOCK_REALTIME, by whatever node.toml says it should come from."""

import math
import time
from dataclasses import replace

from capture_protocol.errors import TuttiError
from capture_protocol.events import ClockSource
from capture_protocol.frame import MAX_UNCERTAINTY_NS
from capture_protocol.rig import PtpSection
from edge_agent.clock.discipline import UNKNOWN_DISCIPLINE, Discipline
from edge_agent.clock.kernel import ntp_discipline, read_kernel_clock
from edge_agent.linuxptp import (
    MAX_OFFSET_NS,
    ClockEvidence,
    ClockStatus,
    ClockUncertainty,
    Finding,
    Role,
    Timestamping,
    derive_status,
    gather_evidence,
    judge,
)

LOOK_S = 1.0
"""How often the agent looks."""
_NS_PER_S = 1_000_000_000
_SILENT_SYNCS = 4
"""So many synchronisations that stay away, and the time of a look: the reference is lost."""
_MAX_FREQUENCY_PPB = 500_000
"""What the kernel slews by (adjtimex(2)): beyond it a servo undoes a step, which tells nothing of
the crystal."""
_LOST = "the PTP grandmaster is lost: the clock runs on its own"


class ClockWatch:
    """Looks at the clock whenever asked; remembers enough to bound the error in holdover."""

    def __init__(self, expected: str, ptp: PtpSection | None = None) -> None:
        """What node.toml says: `clock` ("shared", "ntp" or "ptp") and `[ptp]`."""
        self._expected = expected
        self._ptp = ptp or PtpSection()
        self._uncertainty = ClockUncertainty()
        self._source = ClockSource.UNKNOWN
        self._offset_ns = 0
        self._seen_offset_ns = math.inf
        self._ingress_ns: int | None = None
        self._heard_ns = 0
        self._timestamping: Timestamping | None = None
        self.findings: tuple[Finding, ...] = ()
        """The verdicts on the clock chain at the last look; empty without PTP."""

    def look(self) -> Discipline:
        """The discipline now. With PTP this runs programs and may take seconds.

        "shared" means that all agents of the rig read one clock, so that there is no error
        between them; its distance from UTC does not matter to the rig.
        """
        if self._expected == "shared":
            return Discipline(ClockSource.SHARED, synchronised=True)
        if self._expected == "ntp":
            return ntp_discipline(read_kernel_clock())
        try:
            frequency_ppb = self._frequency_ppb()
            evidence = gather_evidence(self._ptp.socket, self._ptp.domain, self._timestamping)
            status = derive_status(evidence)
        except TuttiError as error:
            self.findings = ()
            problem = f"PTP cannot be watched: {error}"
            return replace(self._lost(time.monotonic_ns(), problem), problem=problem)
        self._timestamping = evidence.timestamping
        self.findings = self.judge_chain(evidence, status)
        return self.judge(status, time.monotonic_ns(), frequency_ppb)

    def judge_chain(self, evidence: ClockEvidence, status: ClockStatus) -> tuple[Finding, ...]:
        """Every point of the chain, with the smaller offset of this look and the one before.

        One packet that came late is not a servo that has not settled.
        """
        before_ns, self._seen_offset_ns = self._seen_offset_ns, status.offset_ns
        offset_ns = min(status.offset_ns, before_ns, key=abs)
        calmer = replace(status, offset_ns=offset_ns)
        return tuple(judge(evidence, calmer, Role(self._ptp.role)))

    def _frequency_ppb(self) -> float | None:
        """Of the discipline; the reference itself has none to lose."""
        if Role(self._ptp.role) is Role.GRANDMASTER:
            return None
        return read_kernel_clock().frequency_ppb

    def judge(
        self, status: ClockStatus, now_ns: int, frequency_ppb: float | None = None
    ) -> Discipline:
        """What a status of linuxptp means for frames exposed from this monotonic instant on.

        The bound holds until the next look. An offset that is too large to be noise is no sample
        of the servo's scatter, but it is an error that the clock has now: it is added.
        """
        follows = status.disciplined or status.is_grandmaster
        settled = abs(status.offset_ns) <= MAX_OFFSET_NS
        steady = settled and abs(frequency_ppb or 0.0) <= _MAX_FREQUENCY_PPB
        if self._is_new(status) and follows:
            self._heard_ns = now_ns
            self._source, self._offset_ns = status.source, round(status.offset_ns)
            if steady:
                self._uncertainty.observe(
                    now_ns, status.offset_ns, status.path_delay_ns, frequency_ppb
                )
        silent_s = (now_ns - self._heard_ns) / _NS_PER_S
        excess_ns = 0.0 if settled else abs(status.offset_ns)
        if follows and silent_s <= LOOK_S + _SILENT_SYNCS * status.sync_interval_s:
            return self._bounded(now_ns, excess_ns)
        return self._lost(now_ns, _LOST, excess_ns)

    def _is_new(self, status: ClockStatus) -> bool:
        """Whether a synchronisation has arrived since the last look; a grandmaster needs none."""
        before, now = self._ingress_ns, status.ingress_time_ns
        self._ingress_ns = now
        return status.is_grandmaster or now is None or now != before

    def _bounded(self, now_ns: int, excess_ns: float) -> Discipline:
        bound_ns = self._uncertainty.bound_ns(now_ns + round(LOOK_S * _NS_PER_S))
        if bound_ns is None:
            return UNKNOWN_DISCIPLINE
        return Discipline(
            source=self._source,
            synchronised=True,
            offset_ns=self._offset_ns,
            uncertainty_ns=min(round(bound_ns + excess_ns), MAX_UNCERTAINTY_NS),
        )

    def _lost(self, now_ns: int, problem: str, excess_ns: float = 0.0) -> Discipline:
        """Holdover, if the clock was ever disciplined."""
        bounded = self._bounded(now_ns, excess_ns)
        if bounded.synchronised:
            return replace(bounded, holdover=True, problem=problem)
        return bounded
