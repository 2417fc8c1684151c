"""The spool: what was appended whole is there after a kill, in order, and goes when durable."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.spool import (
    Leftovers,
    Spool,
    SpoolError,
    SpoolHeader,
    session_folder,
    spool,
    spooled_sessions,
)

HEADER = SpoolHeader(7, 2, Fraction(30000, 1001), 5, 320, 240)
GOP = 5


def unit(slot):
    return bytes([slot % 251]) * (40 + slot % 7)


def filled(folder, count, first=0):
    made = Spool.create(folder, HEADER)
    for slot in range(first, first + count):
        made.append(slot, unit(slot), key=slot % GOP == 0)
    return made


def contents(opened):
    found, entry = {}, opened.after(-1)
    while entry is not None:
        found[entry.slot] = opened.read(entry)
        entry = opened.after(entry.slot)
    return found


def test_what_was_appended_is_read_back(tmp_path):
    made = filled(tmp_path / "s", 12)
    assert contents(made) == {slot: unit(slot) for slot in range(12)}
    assert (made.first_slot, made.last_slot, made.frames) == (0, 11, 12)
    assert Spool.span(tmp_path / "s") == (0, 11)


def test_a_reopened_spool_goes_on(tmp_path):
    filled(tmp_path / "s", 7).close()
    again = Spool.open(tmp_path / "s")
    assert again.header == HEADER
    again.append(7, unit(7), key=False)
    assert sorted(contents(again)) == list(range(8))


def test_there_is_no_spool_in_an_empty_folder(tmp_path):
    assert Spool.open(tmp_path) is None
    assert Spool.span(tmp_path) is None


@given(cut=st.integers(0, 835))
def test_a_tail_torn_at_any_byte_is_cut_to_whole_frames(tmp_path_factory, cut):
    folder = tmp_path_factory.mktemp("torn")
    filled(folder, 12).close()
    (chunk,) = folder.glob("*.units")
    data = chunk.read_bytes()
    chunk.write_bytes(data[: len(data) - cut])
    opened = Spool.open(folder)
    if opened is None:
        assert cut > len(data) - 110, "not even the first frame is whole"
        return
    held = contents(opened)
    assert held == {slot: unit(slot) for slot in range(len(held))}
    assert len(data) - cut >= opened.total_bytes > len(data) - cut - 80
    opened.append(len(held), b"next", key=False)
    opened.close()
    assert Spool.span(folder) == (0, len(held))


@given(at=st.integers(0, 200), flip=st.integers(1, 255))
def test_a_damaged_tail_is_never_delivered(tmp_path_factory, at, flip):
    folder = tmp_path_factory.mktemp("damaged")
    filled(folder, 12).close()
    (chunk,) = folder.glob("*.units")
    data = bytearray(chunk.read_bytes())
    data[len(data) - 1 - at] ^= flip
    chunk.write_bytes(data)
    held = contents(Spool.open(folder))
    assert held == {slot: unit(slot) for slot in range(len(held))}
    assert len(held) >= 12 - 1 - at // 60


def test_chunks_go_when_all_their_slots_are_durable(tmp_path, monkeypatch):
    monkeypatch.setattr(spool, "_CHUNK_BYTES", 300)
    made = filled(tmp_path / "s", 40)
    chunks = sorted((tmp_path / "s").glob("*.units"))
    assert len(chunks) > 3
    made.forget_before(17)
    assert 0 < made.first_slot <= 17
    assert made.first_slot % GOP == 0, "what is left begins with a key frame"
    assert sorted(contents(made)) == list(range(made.first_slot, 40))
    left = sum(path.stat().st_size for path in (tmp_path / "s").glob("*.units"))
    assert made.total_bytes == left
    made.close()
    assert Spool.open(tmp_path / "s").last_slot == 39


def test_a_slot_that_was_forgotten_cannot_be_read(tmp_path, monkeypatch):
    monkeypatch.setattr(spool, "_CHUNK_BYTES", 1)
    made = filled(tmp_path / "s", 12)
    entry = made.after(-1)
    made.forget_before(5)
    with pytest.raises(SpoolError, match="no longer"):
        made.read(entry)


def test_sending_starts_at_the_key_frame_before_the_slot_wanted(tmp_path):
    made = filled(tmp_path / "s", 12)
    assert [made.key_at_or_before(slot).slot for slot in (0, 4, 5, 9, 11, 99)] == [
        0,
        0,
        5,
        5,
        10,
        10,
    ]


def test_sending_starts_at_the_first_key_frame_where_none_is_before(tmp_path):
    assert filled(tmp_path / "s", 12, first=20).key_at_or_before(3).slot == 20


@pytest.mark.parametrize("slot", [0, 3, 4])
def test_slots_must_ascend(tmp_path, slot):
    made = filled(tmp_path / "s", 5)
    with pytest.raises(SpoolError, match="cannot follow"):
        made.append(slot, b"x", key=True)


def test_a_spool_begins_with_a_key_frame(tmp_path):
    with pytest.raises(SpoolError):
        Spool.create(tmp_path / "s", HEADER).append(3, b"x", key=False)


def test_leftovers_go_oldest_first_and_never_what_is_in_use(tmp_path):
    for session in (7, 8, 9):
        filled(session_folder(tmp_path, session, "cam0"), 5).close()
    filled(session_folder(tmp_path, 7, "cam1"), 5).close()
    leftovers = Leftovers(tmp_path, "cam0")
    one = leftovers.total_bytes({7, 8})
    assert leftovers.total_bytes({8}) == 2 * one > 0
    assert leftovers.drop_oldest({8}) == 7
    assert leftovers.drop_oldest({8}) == 9
    assert leftovers.drop_oldest({8}) is None
    assert spooled_sessions(tmp_path) == [7, 8], "cam1 still has session 7"
    assert Spool.open(session_folder(tmp_path, 8, "cam0")).last_slot == 4
