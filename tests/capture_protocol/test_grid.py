from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture_protocol import Grid, InputError, parse_rate

RATES = st.one_of(
    st.integers(1, 1000).map(Fraction),
    st.sampled_from([Fraction(30000, 1001), Fraction(60000, 1001), Fraction(24000, 1001)]),
    st.fractions(min_value=Fraction(1, 2), max_value=1000, max_denominator=10_000),
)
T0S = st.integers(1_600_000_000 * 10**9, 2_200_000_000 * 10**9)
SLOTS = st.integers(0, 10**9)


@given(RATES, T0S, SLOTS)
def test_every_slot_is_the_exact_instant_rounded_once(rate: Fraction, t0: int, slot: int) -> None:
    exact = t0 + Fraction(slot) * 10**9 / rate
    assert abs(Grid(t0, rate).time_ns(slot) - exact) <= Fraction(1, 2)


@given(RATES, T0S, SLOTS)
def test_nearest_slot_inverts_time(rate: Fraction, t0: int, slot: int) -> None:
    grid = Grid(t0, rate)
    assert grid.nearest_slot(grid.time_ns(slot)) == slot
    assert grid.next_slot(grid.time_ns(slot)) == slot
    assert grid.next_slot(grid.time_ns(slot) + 1) == slot + 1


@given(RATES, T0S, SLOTS, st.floats(-0.49, 0.49))
def test_nearest_slot_tolerates_half_a_period(
    rate: Fraction, t0: int, slot: int, share: float
) -> None:
    grid = Grid(t0, rate)
    assert grid.nearest_slot(grid.time_ns(slot) + int(share * grid.period_ns)) == slot


@given(RATES, T0S, st.integers(-(10**12), 10**15))
def test_next_slot_is_the_first_not_before(rate: Fraction, t0: int, after_ns: int) -> None:
    grid = Grid(t0, rate)
    slot = grid.next_slot(t0 + after_ns)
    assert slot >= 0
    assert grid.time_ns(slot) >= t0 + after_ns
    assert slot == 0 or grid.time_ns(slot - 1) < t0 + after_ns


def test_a_day_of_ntsc_stays_on_the_grid() -> None:
    grid = Grid(0, Fraction(30000, 1001))
    slots_per_1001_s = 30000
    assert grid.time_ns(slots_per_1001_s * 1000) == 1001 * 1000 * 10**9


@pytest.mark.parametrize("text", ["", "zero", "0", "-30", "1/0", "1001", "nan"])
def test_bad_rates_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_rate(text)


@pytest.mark.parametrize(
    ("text", "rate"),
    [("30", Fraction(30)), ("29.97", Fraction(2997, 100)), ("30000/1001", Fraction(30000, 1001))],
)
def test_rates_are_exact(text: str, rate: Fraction) -> None:
    assert parse_rate(text) == rate
