"""Event logs: each record once, torn tails, full disks."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capture_protocol import Event, EventKind, InputError, SessionFolder
from capture_protocol.events import EVENT_SIZE, iter_events
from control_server.session.event_store import EventStore, repair_log

KEY = ("cam0", "capture")


def records(numbers: range) -> bytes:
    return b"".join(
        Event(number, number * 10, 1, 0, EventKind.STATE, b"\1\0").pack() for number in numbers
    )


def stored(folder: SessionFolder) -> list[int]:
    return [event.number for event in iter_events(folder.event_log(*KEY).read_bytes())]


def test_batches_are_appended_and_resent_ones_never_double(tmp_path: Path) -> None:
    folder = SessionFolder(tmp_path)
    store = EventStore(folder)
    assert store.next_number(KEY) == 0
    assert store.append(KEY, records(range(1, 11))) == 11
    assert store.append(KEY, records(range(1, 11))) == 11
    assert store.append(KEY, records(range(6, 16))) == 16
    assert store.append(KEY, b"") == 16
    assert stored(folder) == list(range(1, 16))


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 10), st.booleans()), max_size=12))
def test_any_order_of_resending_keeps_the_log_ascending(
    tmp_path_factory: pytest.TempPathFactory, batches: list[tuple[int, int, bool]]
) -> None:
    folder = SessionFolder(tmp_path_factory.mktemp("session"))
    store = EventStore(folder)
    expected: list[int] = []
    for first, size, restart in batches:
        if restart:
            store = EventStore(folder)
        numbers = range(first, first + size)
        expected += [number for number in numbers if number > (expected or [0])[-1]]
        assert store.append(KEY, records(numbers)) == (expected[-1] + 1 if expected else 0)
    assert not expected or stored(folder) == expected


@pytest.mark.parametrize("torn", [1, 60, EVENT_SIZE, EVENT_SIZE + 1])
def test_torn_tail_is_cut_off(tmp_path: Path, torn: int) -> None:
    path = tmp_path / "log.events"
    path.write_bytes(records(range(1, 4)) + b"\xff" * torn)
    assert repair_log(path) == 4
    assert path.read_bytes() == records(range(1, 4))


def test_log_of_rubbish_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "log.events"
    path.write_bytes(b"\xff" * 300)
    assert repair_log(path) == 0
    assert path.read_bytes() == b""


def test_damaged_batch_is_refused_whole(tmp_path: Path) -> None:
    folder = SessionFolder(tmp_path)
    store = EventStore(folder)
    store.append(KEY, records(range(1, 3)))
    damaged = bytearray(records(range(3, 6)))
    damaged[EVENT_SIZE + 5] ^= 1
    with pytest.raises(InputError, match="damaged"):
        store.append(KEY, bytes(damaged))
    with pytest.raises(InputError, match="damaged"):
        store.append(KEY, records(range(3, 6))[:-1])
    assert stored(folder) == [1, 2]


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_write_that_does_not_fit_leaves_whole_records(tmp_path: Path) -> None:
    folder = SessionFolder(tmp_path)
    store = EventStore(folder)
    store.append(KEY, records(range(1, 3)))
    with file_size_limit(3 * EVENT_SIZE + 10), pytest.raises(OSError, match="large"):
        store.append(KEY, records(range(3, 7)))
    assert stored(folder) == [1, 2]
    assert store.append(KEY, records(range(3, 7))) == 7
    assert stored(folder) == [1, 2, 3, 4, 5, 6]
