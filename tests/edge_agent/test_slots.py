"""Slot accounting and the session's clock: pure decisions of the capture process."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture_protocol.clock import ClockReading
from edge_agent.capture import ClockMap, SlotLedger, Taken

S = 1_000_000_000


def deliver(ledger, slot):
    """What `CameraTrack` does with a frame."""
    taken = ledger.judge(slot)
    if taken is Taken.DELIVER:
        lost = ledger.lost_before(slot)
        ledger.give_up(len(lost), slot)
        ledger.take(slot)
        return lost
    return taken


def test_nothing_is_delivered_before_the_first_release():
    ledger = SlotLedger()
    assert deliver(ledger, 3) is Taken.OUTSIDE
    ledger.released(5, 1)
    assert deliver(ledger, 4) is Taken.OUTSIDE
    assert deliver(ledger, 5) == []


def test_a_second_frame_of_a_slot_is_a_duplicate():
    ledger = SlotLedger()
    ledger.released(0, 1)
    assert deliver(ledger, 0) == []
    assert deliver(ledger, 0) is Taken.DUPLICATE


def test_only_released_slots_count_as_lost_at_the_sensor():
    ledger = SlotLedger()
    for slot in (0, 1, 2, 6):
        ledger.released(slot, 1)
    assert deliver(ledger, 0) == []
    assert deliver(ledger, 6) == [1, 2]
    assert (ledger.captured, ledger.lost) == (2, 2)


def test_the_window_ends_with_the_last_slot():
    ledger = SlotLedger(last_slot=1)
    for slot in range(4):
        ledger.released(slot, 10 + slot)
    assert deliver(ledger, 0) == []
    assert not ledger.complete
    assert deliver(ledger, 2) is Taken.OUTSIDE
    assert deliver(ledger, 1) == []
    assert ledger.complete
    assert ledger.release_ns(1) == 11


@given(
    skipped=st.sets(st.integers(0, 60)),
    arrivals=st.lists(st.integers(-3, 70), max_size=90),
)
def test_every_slot_is_delivered_lost_or_never_released_and_only_once(skipped, arrivals):
    ledger = SlotLedger(last_slot=60)
    released = [slot for slot in range(61) if slot not in skipped]
    for slot in released:
        ledger.released(slot, 1)
    delivered, lost = [], []
    for slot in arrivals:
        outcome = deliver(ledger, slot)
        if isinstance(outcome, list):
            delivered.append(slot)
            lost += outcome
    lost += ledger.lost_before(61)
    assert len(set(delivered)) == len(delivered)
    assert not set(delivered) & set(lost)
    assert len(set(lost)) == len(lost)
    assert set(released) <= set(delivered) | set(lost)
    assert set(lost) <= set(released)


def reading(mono_ns, offset_ns, width_ns=200):
    return ClockReading(mono_ns, mono_ns + offset_ns, width_ns)


def test_slewing_is_followed():
    clock = ClockMap(reading(0, 1000))
    for second in range(1, 100):
        assert clock.update(reading(second * S, 1000 + second * 500_000)) == 0
    assert clock.offset_ns == 1000 + 99 * 500_000
    assert not clock.stepped


@given(step_ns=st.integers(1_000_000, 10**18), sign=st.sampled_from((1, -1)))
def test_a_step_is_reported_and_not_followed(step_ns, sign):
    step_ns *= sign
    clock = ClockMap(reading(0, 0))
    assert clock.update(reading(S // 30, step_ns)) == step_ns
    assert clock.stepped
    assert clock.offset_ns == 0
    assert clock.update(reading(2 * S // 30, step_ns + 5_000)) == 0
    assert clock.offset_ns == 5_000, "slewing goes on under the old mapping"


def test_a_new_session_takes_the_clock_as_it_is():
    clock = ClockMap(reading(0, 0))
    clock.update(reading(S, 5 * S))
    clock.reset(reading(2 * S, 5 * S))
    assert clock.offset_ns == 5 * S
    assert not clock.stepped


@pytest.mark.parametrize("width_ns", [100, 40_000, 3_000_000])
def test_a_disturbed_reading_is_no_step(width_ns):
    clock = ClockMap(reading(0, 0))
    assert clock.update(reading(S // 30, width_ns // 2, width_ns)) == 0


def test_a_servo_that_undoes_a_step_by_racing_is_not_followed():
    """As ptp4l does it: a step of 5 ms is undone at 20 000 ppm, then slewed out ever slower."""
    clock = ClockMap(reading(0, 0))
    offset_ns, now_ns = 0, 0
    moves_ns = (5_000_000, *[-660_000] * 7, -300_000, -45_000, -30_000, -4_000, -1_000)
    for moved_ns in moves_ns:
        now_ns += S // 30
        offset_ns += moved_ns
        clock.update(reading(now_ns, offset_ns))
    assert offset_ns == 0
    assert abs(clock.offset_ns) <= 5_000
    assert abs(clock.stepped_by_ns) == abs(clock.offset_ns)
    for _ in range(100):  # and later a late reading is forgiven again
        now_ns += S // 30
        assert clock.update(reading(now_ns, 0)) == 0
    assert clock.update(reading(now_ns + S // 30, 45_000)) == 0
