"""Working ahead changes neither what is read nor its order, and stays within its bound."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from threading import Event

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiview.errors import SourceStalledError
from multiview.sources._patience import Patience
from multiview.sources._prefetch import Prefetch, in_time

PATIENCE = Patience(Path("clip.mp4"), 60.0)


def ahead(items: Iterator[int], depth: int) -> Prefetch[int]:
    prefetch = Prefetch(items, PATIENCE)
    prefetch.read_ahead(depth)
    return prefetch


@given(count=st.integers(0, 40), depth=st.integers(1, 9))
def test_all_items_in_order_and_never_too_far_ahead(count: int, depth: int) -> None:
    taken, leads = 0, []

    def items() -> Iterator[int]:
        for number in range(count):
            leads.append(number + 1 - taken)
            yield number

    read = []
    prefetch = ahead(items(), depth)
    for number in prefetch:
        taken += 1
        read.append(number)
    prefetch.close()
    assert read == list(range(count))
    # An item may be begun when the reader holds the one before it and has not yet counted it.
    assert max(leads, default=0) <= depth + 1


@given(before=st.integers(0, 10), depth=st.integers(1, 9))
def test_an_error_comes_in_its_place(before: int, depth: int) -> None:
    def items() -> Iterator[int]:
        yield from range(before)
        raise OSError("disk gone")

    prefetch = ahead(items(), depth)
    assert list(islice(prefetch, before)) == list(range(before))
    with pytest.raises(OSError, match="disk gone"):
        next(prefetch)
    assert list(prefetch) == []
    prefetch.close()


@given(read=st.integers(0, 20), depth=st.integers(1, 9))
def test_after_closing_the_items_belong_to_the_caller(read: int, depth: int) -> None:
    items = iter(range(10**9))
    prefetch = ahead(items, depth)
    assert list(islice(prefetch, read)) == list(range(read))
    prefetch.close()
    assert read <= next(items) <= read + depth
    assert list(prefetch) == []


@given(read=st.integers(0, 9), depth=st.integers(1, 9))
def test_on_demand_nothing_is_done_beforehand(read: int, depth: int) -> None:
    done = []

    def items() -> Iterator[int]:
        for number in range(10**9):
            done.append(number)
            yield number

    prefetch = Prefetch(items(), PATIENCE)
    assert list(islice(prefetch, read)) == list(range(read)) == done
    prefetch.read_ahead(depth)
    assert list(islice(prefetch, depth)) == list(range(read, read + depth))
    prefetch.close()
    assert len(done) <= read + 2 * depth


def test_patience_ends_without_a_sign_of_life() -> None:
    answer = Event()
    with pytest.raises(SourceStalledError, match=r"clip\.mp4: nothing could be read for 0.2 s"):
        in_time(Patience(Path("clip.mp4"), 0.2), answer.wait)
    answer.set()


def test_patience_lasts_while_there_are_signs_of_life() -> None:
    patience, never = Patience(Path("clip.mp4"), 0.5), Event()

    def slow() -> str:
        for _ in range(12):
            never.wait(0.1)
            patience.sign_of_life()
        return "read"

    assert in_time(patience, slow) == "read"


def test_what_a_call_raises_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        in_time(PATIENCE, lambda: 1 // 0)
