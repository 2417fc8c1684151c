"""What counts as durable, and who holds a slot first."""

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from capture_protocol import SegmentName
from control_server.session.accounting import (
    CameraAccount,
    SegmentFact,
    first_uncovered,
    missing_ranges,
    segment_entries,
)
from control_server.session.notes import PartNote

ROOT = Path("/session")


def part(number: int, resume: int, first: int) -> PartNote:
    return PartNote(part=number, resume_slot=resume, first_slot=first, opened_ns=0, peer="x")


def fact(part_number: int, segment: int, slots: list[int], damaged: str = "") -> SegmentFact:
    name = SegmentName(1, "cam0", part_number, segment, "mkv")
    array = np.array(slots, np.uint64)
    return SegmentFact(name, ROOT / "video/cam0" / str(name), array, 0, 10, "ab", damaged)


def account(parts: list[PartNote], facts: list[SegmentFact]) -> CameraAccount:
    made = CameraAccount()
    for note in parts:
        made.add_part(note)
    for each in facts:
        made.add_segment(each)
    return made


def test_nothing_is_durable_at_first() -> None:
    assert account([], []).next_slot == 0
    assert account([part(1, 0, 0)], []).next_slot == 0
    assert len(account([], []).delivered()) == 0


def test_closed_segments_are_durable_in_turn() -> None:
    assert account([part(1, 0, 0)], [fact(1, 0, [0, 1, 2])]).next_slot == 3
    assert account([part(1, 0, 0)], [fact(1, 0, [0, 1, 2]), fact(1, 1, [3, 4])]).next_slot == 5


def test_hole_that_the_stream_passed_is_not_waited_for() -> None:
    facts = [fact(1, 0, [0, 1, 4]), fact(1, 1, [7, 8])]
    assert account([part(1, 0, 0)], facts).next_slot == 9


def test_slots_before_a_late_start_are_in_no_spool() -> None:
    assert account([part(1, 0, 37)], [fact(1, 3, [37, 38])]).next_slot == 39


def test_second_part_goes_on_where_the_first_ended() -> None:
    parts = [part(1, 0, 0), part(2, 3, 0)]
    facts = [fact(1, 0, [0, 1, 2]), fact(2, 0, list(range(8)))]
    assert account(parts, facts).next_slot == 8


def test_damaged_file_counts_only_what_was_read() -> None:
    facts = [fact(1, 0, [0, 1, 4], damaged="cut"), fact(1, 1, [5, 6])]
    made = account([part(1, 0, 0)], facts)
    assert made.next_slot == 2
    made.add_part(part(2, 2, 0))
    made.add_segment(fact(2, 0, [0, 1, 4, 5, 6]))
    assert made.next_slot == 7


def test_unreadable_file_stops_the_account() -> None:
    facts = [fact(1, 0, [0, 1]), fact(1, 1, [], damaged="all"), fact(1, 2, [4, 5])]
    assert account([part(1, 0, 0)], facts).next_slot == 2


def test_first_file_that_holds_a_slot_wins() -> None:
    made = account(
        [part(1, 0, 0), part(2, 3, 0)],
        [fact(2, 0, [0, 1, 2, 3, 4]), fact(1, 0, [0, 1, 3])],
    )
    first, second = segment_entries(made, ROOT)
    assert (first.part, first.superseded, first.gaps) == (1, [], [(2, 2)])
    assert (second.part, second.superseded, second.gaps) == (2, [(0, 1), (3, 3)], [])
    assert second.path == "video/cam0/000001_cam0_p002_s000000.mkv"


def test_empty_file_has_an_entry_without_slots() -> None:
    (entry,) = segment_entries(account([part(1, 0, 0)], [fact(1, 0, [])]), ROOT)
    assert (entry.frames, entry.first_slot, entry.last_slot, entry.gaps) == (0, 0, -1, [])


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 10)), max_size=20))
def test_first_uncovered_is_the_first_slot_in_no_range(spans: list[tuple[int, int]]) -> None:
    covered = [(first, first + size) for first, size in spans]
    slots = {slot for first, last in covered for slot in range(first, last + 1)}
    assert first_uncovered(covered) == next(slot for slot in range(100) if slot not in slots)


@given(st.sets(st.integers(0, 60)), st.integers(-1, 60))
def test_delivered_and_missing_add_up(delivered: set[int], last_slot: int) -> None:
    array = np.array(sorted(delivered), np.uint64)
    missing = missing_ranges(array, last_slot)
    counted = [slot for first, last in missing for slot in range(first, last + 1)]
    assert counted == [slot for slot in range(last_slot + 1) if slot not in delivered]


@given(st.data())
def test_a_spool_delivered_with_breaks_is_durable_to_its_end(data: st.DataObject) -> None:
    """Whatever was lost before the spool and wherever connections break."""
    spool = sorted(data.draw(st.sets(st.integers(0, 80), min_size=1)))
    made = CameraAccount()
    number = 0
    while made.next_slot <= spool[-1]:
        number += 1
        resume = made.next_slot
        keys = [slot for slot in spool if slot % 5 == 0 and slot <= resume]
        sent = [slot for slot in spool if slot >= (keys[-1] if keys else spool[0])]
        fresh = sum(slot < resume for slot in sent) + 1
        sent = sent[: data.draw(st.integers(min(fresh, len(sent)), len(sent)))]
        made.add_part(part(number, resume, sent[0]))
        for segment in sorted({slot // 10 for slot in sent}):
            slots = [slot for slot in sent if slot // 10 == segment]
            made.add_segment(fact(number, segment, slots))
    assert made.next_slot == spool[-1] + 1
    assert made.delivered().tolist() == spool
    resent = sum(
        last - first + 1
        for entry in segment_entries(made, ROOT)
        for first, last in entry.superseded
    )
    assert made.frames - resent == len(spool)
