"""A finding: one point of a machine, how it was judged, and what to do."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How a point was judged."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True)
class Finding:
    """One point, of the clock chain or of what else a machine needs."""

    point: str
    verdict: Verdict
    text: str
    mend: str = ""
    """What to do; empty where nothing is to be done."""


def passed(point: str, text: str) -> Finding:
    """Return the finding of a point that is as it should be."""
    return Finding(point, Verdict.OK, text)
