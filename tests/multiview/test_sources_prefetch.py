"""Working ahead changes neither what is read nor its order, and stays within its bound."""

from collections.abc import Iterator
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiview.sources._prefetch import Prefetch


@given(count=st.integers(0, 40), depth=st.integers(1, 9))
def test_all_items_in_order_and_never_too_far_ahead(count: int, depth: int) -> None:
    taken, ahead = 0, []

    def items() -> Iterator[int]:
        for number in range(count):
            ahead.append(number + 1 - taken)
            yield number

    read = []
    prefetch = Prefetch(items(), depth)
    for number in prefetch:
        taken += 1
        read.append(number)
    prefetch.close()
    assert read == list(range(count))
    # An item may be begun when the reader holds the one before it and has not yet counted it.
    assert max(ahead, default=0) <= depth + 1


@given(before=st.integers(0, 10), depth=st.integers(1, 9))
def test_an_error_comes_in_its_place(before: int, depth: int) -> None:
    def items() -> Iterator[int]:
        yield from range(before)
        raise OSError("disk gone")

    prefetch = Prefetch(items(), depth)
    assert list(islice(prefetch, before)) == list(range(before))
    with pytest.raises(OSError, match="disk gone"):
        next(prefetch)
    assert list(prefetch) == []
    prefetch.close()


@given(read=st.integers(0, 20), depth=st.integers(1, 9))
def test_after_closing_the_items_belong_to_the_caller(read: int, depth: int) -> None:
    items = iter(range(10**9))
    prefetch = Prefetch(items, depth)
    assert list(islice(prefetch, read)) == list(range(read))
    prefetch.close()
    assert read <= next(items) <= read + depth
    assert list(prefetch) == []
