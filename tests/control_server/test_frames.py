"""frames.parquet: every delivered slot once, the claims unchanged."""

from dataclasses import fields
from fractions import Fraction

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture_protocol import FrameRecord, Grid, InputError, LossPlace
from capture_protocol.frame import FRAME_DTYPE
from control_server.session.frames_table import FRAMES_SCHEMA, read_frames, write_frames
from control_server.session.record_times import midpoints_ns, row_midpoints_ns, slot_offsets_ns
from tests.capture_protocol.strategies import frame_records
from tests.support.recording import Recording, make_record, record, sha256


@pytest.fixture
def broken_off(tmp_path):
    """Camera 0 lost a slot on the way, camera 1 was interrupted and sent six slots again."""
    spec = Recording(
        slots=40, lost={(0, 5): LossPlace.NETWORK}, resend={1: (25, 20)}, segment_slots=20
    )
    return spec, record(spec, tmp_path / "s")


def test_each_slot_is_in_the_table_once_and_unchanged(broken_off):
    spec, folder = broken_off
    write_frames(folder)
    for camera, slots in ((0, [n for n in range(40) if n != 5]), (1, list(range(40)))):
        rows = read_frames(folder, f"cam{camera}")
        records = [make_record(spec, camera, slot) for slot in slots]
        assert rows.records.tobytes() == b"".join(record.pack() for record in records)
        assert rows.midpoint_ns.tolist() == [record.midpoint_ns for record in records]
        assert rows.grid_error_ns.tolist() == [
            record.midpoint_ns - record.slot_time_ns for record in records
        ]
        assert np.flatnonzero(rows.key).tolist() == [
            at for at, slot in enumerate(slots) if slot % 10 == 0
        ]


def test_the_first_file_that_holds_a_slot_wins(broken_off):
    _, folder = broken_off
    write_frames(folder)
    rows = read_frames(folder, "cam1")
    origin = [rows.files[at] for at in rows.file]
    assert [name[-16:] for name in origin[22:27]] == ["p001_s000001.mkv"] * 4 + ["p002_s000000.mkv"]


def test_the_schema_names_every_field_of_the_record(broken_off):
    _, folder = broken_off
    write_frames(folder)
    stored = pq.read_schema(folder.frames_path)
    assert stored.equals(FRAMES_SCHEMA)
    expected = {field.name for field in fields(FrameRecord)} | {"camera_index", "key", "size"}
    assert expected <= set(stored.names)


def test_a_camera_without_any_file_has_no_rows(tmp_path):
    folder = record(Recording(cameras=2, slots=10), tmp_path / "s")
    for path in folder.segments("cam1"):
        path.unlink()
    write_frames(folder)
    assert len(read_frames(folder, "cam0").records) == 10
    assert len(read_frames(folder, "cam1").records) == 0


def test_a_failed_write_leaves_the_old_table(broken_off, monkeypatch):
    _, folder = broken_off
    write_frames(folder)
    before = sha256(folder.frames_path)
    monkeypatch.setattr("os.fsync", _full_disk)
    with pytest.raises(OSError, match="full"):
        write_frames(folder)
    assert sha256(folder.frames_path) == before
    assert not [path for path in folder.path.iterdir() if path.name.startswith(".")]


def _full_disk(handle):
    raise OSError(28, "the disk is full")


@pytest.mark.parametrize("content", [None, b"", b"PAR1" * 99])
def test_a_missing_or_damaged_table_says_how_to_make_it_anew(broken_off, content):
    _, folder = broken_off
    if content is not None:
        folder.frames_path.write_bytes(content)
    with pytest.raises(InputError) as refused:
        read_frames(folder, "cam0")
    assert "--rebuild" in refused.value.hint


@given(st.lists(frame_records, min_size=1, max_size=5))
def test_midpoints_of_many_equal_those_of_each(records):
    array = np.frombuffer(b"".join(record.pack() for record in records), FRAME_DTYPE)
    expected = [record.midpoint_ns for record in records]
    assert midpoints_ns(array).tolist() == expected
    middle = np.full(len(records), 240)
    assert row_midpoints_ns(array, middle, 480).tolist() == expected


def test_rows_above_and_below_the_middle_are_earlier_and_later():
    records = np.frombuffer(make_record(Recording(), 0, 5).pack(), FRAME_DTYPE)
    middle = int(midpoints_ns(records)[0])
    readout_ns = int(records["rows"][0]) * int(records["line_time_ns"][0])
    for row, expected in ((0, -readout_ns // 2), (120, -readout_ns // 4), (480, readout_ns // 2)):
        assert row_midpoints_ns(records, np.array([row]), 480)[0] == middle + expected


@given(
    st.fractions(Fraction(1, 100), 1000, max_denominator=100_000),
    st.lists(st.integers(0, 10**7), min_size=1, max_size=20),  # 30 years at the slowest rate
)
def test_offsets_of_many_slots_equal_those_of_each(rate, slots):
    expected = [Grid(0, rate).offset_ns(slot) for slot in slots]
    assert slot_offsets_ns(rate, np.array(slots, np.uint64)).tolist() == expected
