"""Which flashes are the same: found by arithmetic of chance, refused where it does not suffice."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multiview.flash._matching import (
    MAX_LOG10_NFA,
    EventTimes,
    Window,
    alignments,
    rivals,
)

SECOND = 1e9
DRIFT = 500e-6


def events(times_s, sigma_ms: float = 1.0, end_s: float = 60.0) -> EventTimes:
    times = np.sort(np.asarray(times_s, dtype=np.float64)) * SECOND
    return EventTimes(times, np.full(len(times), sigma_ms * 1e6), 0.0, end_s * SECOND)


def irregular(rng: np.random.Generator, count: int, end_s: float = 55.0) -> np.ndarray:
    return np.sort(rng.uniform(2, end_s - count, count)) + np.arange(count)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    offset_s=st.floats(-30, 30),
    ppm=st.floats(-300, 300),
    lost=st.integers(0, 4),
    local=st.integers(0, 6),
)
def test_the_true_alignment_is_found_whatever_is_missing_or_added(seed, offset_s, ppm, lost, local):
    rng = np.random.default_rng(seed)
    common = irregular(rng, 14)
    one = np.concatenate([rng.permutation(common)[lost:], rng.uniform(0, 55, local)])
    two = np.concatenate([rng.permutation(common)[lost:], rng.uniform(0, 55, local)])
    two = two * (1 + 1e-6 * ppm) + offset_s + rng.normal(0, 5e-4, len(two))
    best, *_ = alignments(events(one), events(two, end_s=90), DRIFT)
    assert best.log10_nfa < MAX_LOG10_NFA
    assert best.offset_at(20 * SECOND) / SECOND == pytest.approx(offset_s + 20e-6 * ppm, abs=0.012)


def test_unrelated_flashes_never_agree_beyond_chance():
    rng = np.random.default_rng(5)
    found = [
        alignments(events(irregular(rng, 12), 4.0), events(irregular(rng, 12), 4.0), DRIFT)[0]
        for _ in range(100)
    ]
    assert min(alignment.log10_nfa for alignment in found) > MAX_LOG10_NFA


def test_even_flashes_have_rivals_and_irregular_ones_have_none():
    even = events(2 + 4 * np.arange(13))
    assert rivals(alignments(even, even, DRIFT))
    uneven = events(irregular(np.random.default_rng(1), 13))
    assert rivals(alignments(uneven, uneven, DRIFT)) == []


def test_a_few_even_flashes_among_irregular_ones_do_not_confuse():
    rng = np.random.default_rng(2)
    times = np.concatenate([5 + 2 * np.arange(4), 20 + irregular(rng, 9, 30)])
    ranked = alignments(events(times), events(times + 3), DRIFT)
    assert rivals(ranked) == []
    assert ranked[0].offset_at(0) / SECOND == pytest.approx(3, abs=0.01)


def test_a_window_excludes_other_alignments():
    even = events(2 + 4 * np.arange(13))
    ranked = alignments(even, even, DRIFT, Window(8 * SECOND, 1 * SECOND))
    assert rivals(ranked) == []
    assert ranked[0].offset_at(0) / SECOND == pytest.approx(8, abs=0.01)
    assert len(ranked[0].pairs) == 11


def test_a_window_without_any_candidate_gives_nothing():
    some = events([3.0, 9.0, 14.5])
    assert alignments(some, some, DRIFT, Window(200 * SECOND, SECOND)) == []
    assert alignments(some, events([]), DRIFT) == []


def test_matches_are_one_to_one():
    double = events([5.0, 5.003, 11.0, 17.7, 25.1, 33.0])
    single = events([5.001, 11.0, 17.7, 25.1, 33.0])
    pairs = alignments(double, single, DRIFT)[0].pairs
    assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs) == 5
