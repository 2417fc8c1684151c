"""The event-log ring: whole records only, whatever instant its writer is killed at."""

import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture_protocol.events import (
    EVENT_SIZE,
    LOST_STRUCT,
    STATE_STRUCT,
    EventKind,
    LossPlace,
    iter_events,
    unpack_event,
)
from edge_agent.eventlog import (
    LogBusyError,
    Overtaken,
    RingReader,
    RingWriter,
    session_numbers,
    writer,
)

RECORDS = 8


def lose(log, slot, session=1):
    log.append(slot * 10, session, 2, EventKind.LOST, LOST_STRUCT, slot, LossPlace.SENSOR)


def slots(data):
    return [LOST_STRUCT.unpack_from(event.payload)[0] for event in iter_events(data)]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cam.ring"


def test_what_is_written_is_read_and_numbered_from_one(path):
    log = RingWriter(path, RECORDS)
    reader = RingReader(path)
    assert reader.read_one() is None
    lose(log, 5)
    event = unpack_event(reader.read_one())
    assert (event.number, event.mono_ns, event.session, event.camera) == (1, 50, 1, 2)
    assert LOST_STRUCT.unpack_from(event.payload) == (5, LossPlace.SENSOR)
    assert reader.read_one() is None


def test_a_new_writer_goes_on_where_the_last_one_ended(path):
    log = RingWriter(path, RECORDS)
    for slot in range(11):
        lose(log, slot)
    log.close()
    log = RingWriter(path, RECORDS)
    assert log.next_number == 12
    lose(log, 11)
    assert slots(RingReader(path, 5).read(100)) == list(range(4, 12))


def test_a_slow_reader_is_told_how_many_records_it_lost(path):
    log = RingWriter(path, RECORDS)
    reader = RingReader(path)
    for slot in range(20):
        lose(log, slot)
    with pytest.raises(Overtaken) as caught:
        reader.read(100)
    found = slots(reader.read(100))
    assert found == list(range(20))[-len(found) :]
    assert len(found) >= RECORDS - 1
    assert caught.value.lost + len(found) == 20


def test_a_shorter_payload_leaves_nothing_of_the_record_before(path):
    log = RingWriter(path, 1)
    lose(log, 2**56 + 1)
    log.append(1, 1, 2, EventKind.STATE, STATE_STRUCT, 3, 2)
    assert unpack_event(RingReader(path, 2).read_one()).payload[2:] == bytes(98)


def test_two_writers_exclude_each_other(path, monkeypatch):
    monkeypatch.setattr(writer, "_LOCK_WAIT_S", 0.05)
    log = RingWriter(path, RECORDS)
    with pytest.raises(LogBusyError, match="another process") as caught:
        RingWriter(path, RECORDS)
    assert "state folder" in caught.value.hint
    log.close()
    RingWriter(path, RECORDS).close()


def test_sessions_are_found_by_their_numbers(path):
    log = RingWriter(path, RECORDS)
    for session in (3, 3, 4, 4, 4):
        lose(log, 1, session)
    assert session_numbers(path) == {3: (1, 2), 4: (3, 5)}


@given(written=st.integers(0, 20), torn_bytes=st.integers(0, EVENT_SIZE))
def test_a_kill_in_the_middle_of_a_record_costs_at_most_that_record(
    tmp_path_factory, written, torn_bytes
):
    folder = tmp_path_factory.mktemp("ring")
    log = RingWriter(folder / "a", RECORDS)
    for slot in range(written):
        lose(log, slot)
    before = bytes(log.buffer)
    lose(log, written)
    after = bytes(log.buffer)
    log.close()
    at = written % RECORDS * EVENT_SIZE
    torn = before[:at] + after[at : at + torn_bytes] + before[at + torn_bytes :]
    (folder / "b").write_bytes(torn)
    log = RingWriter(folder / "b", RECORDS)
    whole = written + (torn == after)
    assert log.next_number == whole + 1
    lose(log, 77)
    log.close()
    first = max(1, whole + 2 - RECORDS)
    read = slots(RingReader(folder / "b", first).read(100))
    assert read == [*range(first - 1, whole), 77]
    shutil.rmtree(folder)
