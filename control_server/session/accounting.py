"""Which slots of a camera are safe in closed files: pure arithmetic on scans, no I/O.

TCP keeps the order and an agent's spool is in order of slots. So a part that began at slot F and
whose closed files reach slot m holds everything that the spool held in [F, m]: a hole inside was
lost before the spool and must not be waited for. The same is true from the slot that was asked for
up to F. Only where a file is damaged do just the slots count that were really read.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt

from capture_protocol import SegmentName
from capture_protocol.session import SegmentEntry, ranges
from control_server.session.notes import PartNote

Slots = npt.NDArray[np.uint64]
Range = tuple[int, int]


@dataclass(frozen=True)
class SegmentFact:
    """What a scan found in one closed segment file."""

    name: SegmentName
    path: Path
    slots: Slots
    """In file order."""
    late: int
    """Frames flagged as late or repeated."""
    size: int
    sha256: str
    damaged: str
    """What could not be read, empty if the whole file could."""

    @cached_property
    def span(self) -> Range | None:
        """First and last slot, None if the file holds none."""
        return (int(self.slots.min()), int(self.slots.max())) if len(self.slots) else None


@dataclass
class CameraAccount:
    """All parts and closed segments of one camera."""

    parts: dict[int, PartNote] = field(default_factory=dict)
    segments: dict[SegmentName, SegmentFact] = field(default_factory=dict)

    def copy(self) -> "CameraAccount":
        """The account as it is now."""
        return CameraAccount(dict(self.parts), dict(self.segments))

    def add_part(self, note: PartNote) -> None:
        """A connection was accepted."""
        self.parts[note.part] = note

    def add_segment(self, fact: SegmentFact) -> None:
        """A segment was closed and scanned; a later scan of the same file replaces this one."""
        self.segments[fact.name] = fact

    @property
    def next_slot(self) -> int:
        """The first slot that is not durable."""
        of_part = {
            part: list(facts)
            for part, facts in groupby(self.in_order(), lambda fact: fact.name.part)
        }
        return first_uncovered(
            found
            for note in self.parts.values()
            for found in _covered(note, of_part.get(note.part, []))
        )

    @property
    def late(self) -> int:
        """Frames in closed files that are flagged as late or repeated."""
        return sum(fact.late for fact in self.segments.values())

    @property
    def frames(self) -> int:
        """Frames in closed files; a frame that was sent again counts again."""
        return sum(len(fact.slots) for fact in self.segments.values())

    def delivered(self) -> Slots:
        """All slots in closed files, ascending, each once."""
        if not self.segments:
            return np.empty(0, np.uint64)
        return np.unique(np.concatenate([fact.slots for fact in self.segments.values()]))

    def in_order(self) -> list[SegmentFact]:
        """The segments by part and number."""
        return [self.segments[name] for name in sorted(self.segments)]


def _covered(note: PartNote, facts: Iterable[SegmentFact]) -> Iterable[Range]:
    """Ranges of slots that one part settles, by its segments in order."""
    reached = min(note.resume_slot, note.first_slot)
    if note.first_slot > reached:
        yield reached, note.first_slot - 1
        reached = note.first_slot
    whole = True
    for fact in facts:
        if fact.damaged:
            yield from ranges(np.unique(fact.slots).tolist())
            whole = False
        elif fact.span:
            first, last = fact.span
            yield (reached if whole else first), last
            reached, whole = last + 1, True


def first_uncovered(covered: Iterable[Range]) -> int:
    """The first slot from 0 on that lies in none of the inclusive ranges."""
    slot = 0
    for first, last in sorted(covered):
        if first > slot:
            break
        slot = max(slot, last + 1)
    return slot


def segment_entries(account: CameraAccount, root: Path) -> list[SegmentEntry]:
    """Manifest entries of a camera: the first file that holds a slot is the one that counts."""
    facts = account.in_order()
    seen = np.zeros(
        max((int(fact.slots.max(initial=0)) for fact in facts), default=0) + 1, np.bool_
    )
    entries = []
    for fact in facts:
        slots = np.unique(fact.slots)
        entries.append(_entry(fact, slots, slots[seen[slots]], root))
        seen[slots] = True
    return entries


def missing_ranges(delivered: Slots, last_slot: int) -> list[Range]:
    """Slots of 0..``last_slot`` that are not in ``delivered``, as inclusive ranges."""
    wanted = np.arange(last_slot + 1, dtype=np.uint64)
    return ranges(np.setdiff1d(wanted, delivered).tolist())


def _entry(fact: SegmentFact, slots: Slots, resent: Slots, root: Path) -> SegmentEntry:
    first, last = (int(slots[0]), int(slots[-1])) if len(slots) else (0, -1)
    inside = np.arange(first, last + 1, dtype=np.uint64)
    return SegmentEntry(
        path=str(fact.path.relative_to(root)),
        camera=fact.name.camera,
        part=fact.name.part,
        segment=fact.name.segment,
        sha256=fact.sha256,
        size=fact.size,
        frames=len(fact.slots),
        first_slot=first,
        last_slot=last,
        gaps=ranges(np.setdiff1d(inside, slots).tolist()),
        superseded=ranges(resent.tolist()),
    )
