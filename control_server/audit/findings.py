"""What the audit found, and how a finding becomes the answer of a check."""

from dataclasses import dataclass

from capture_protocol.rig import AuditSection
from control_server.audit.camera import CameraFindings
from control_server.audit.files import FileProblem
from control_server.audit.result import Check, Spread, Verdict
from control_server.audit.session import AuditedSession

NS_PER_US = 1000
MOST_LISTED = 4
"""A sentence names so many cameras or files; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything the ordinary audit found."""

    session: AuditedSession
    cameras: list[CameraFindings]
    skew: Spread | None
    files: list[FileProblem]
    deep: bool
    """Whether all hashes were compared."""

    @property
    def limits(self) -> AuditSection:
        """Thresholds as they were when the session started."""
        return self.session.plan.audit


def counted(
    name: str, title: str, count: int, unit: str, *, limit: int = 0, good: str, bad: str
) -> Check:
    """A check that passes while a count stays within its limit."""
    return Check(
        name=name,
        title=title,
        verdict=Verdict.PASS if count <= limit else Verdict.FAIL,
        measured=count,
        limit=limit,
        unit=unit,
        sentence=good if count <= limit else bad,
    )


def plural(count: int, noun: str) -> str:
    """ "1 slot", "2 slots"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def listed(items: list[str]) -> str:
    """The first few items of a list and how many more there are."""
    shown = ", ".join(items[:MOST_LISTED])
    more = len(items) - MOST_LISTED
    return f"{shown} and {more} more." if more > 0 else f"{shown}."
