import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture_protocol import FrameRecord, InputError, midpoint_ns
from capture_protocol.events import PAYLOAD_SIZE, PICTURE_STRUCT
from capture_protocol.frame import FRAME_DTYPE, FRAME_SIZE, MAX_UNCERTAINTY_NS
from tests.capture_protocol.strategies import frame_records


@given(frame_records)
def test_a_record_survives_packing(record: FrameRecord) -> None:
    packed = record.pack()
    assert len(packed) == FRAME_SIZE
    assert FrameRecord.unpack(packed) == record


@given(frame_records)
def test_numpy_reads_the_same_fields(record: FrameRecord) -> None:
    row = np.frombuffer(record.pack(), FRAME_DTYPE)[0]
    for name in FRAME_DTYPE.names or ():
        assert int(row[name]) == getattr(record, name)


@given(frame_records)
def test_the_grid_is_recovered_from_one_frame(record: FrameRecord) -> None:
    assert record.grid.time_ns(record.slot) == record.slot_time_ns


@given(frame_records)
def test_the_stated_uncertainty_is_never_below_its_parts(record: FrameRecord) -> None:
    assert record.uncertainty_ns <= MAX_UNCERTAINTY_NS
    assert record.uncertainty_ns >= max(record.clock_uncertainty_ns, record.stamp_uncertainty_ns)


@given(st.binary(max_size=200).filter(lambda data: len(data) != FRAME_SIZE))
def test_a_wrong_size_is_refused(data: bytes) -> None:
    with pytest.raises(InputError):
        FrameRecord.unpack(data)


def test_an_unknown_version_is_refused() -> None:
    with pytest.raises(InputError, match="version 2"):
        FrameRecord.unpack(b"\x02" + bytes(FRAME_SIZE - 1))


def test_the_midpoint_is_half_an_exposure_before_the_middle_rows_readout() -> None:
    assert midpoint_ns(1_000_000, 400_000, 10_000, 100, 50) == 1_000_000 + 50 + 500_000 - 200_000


def test_record_and_picture_fit_an_event() -> None:
    assert FRAME_SIZE + PICTURE_STRUCT.size <= PAYLOAD_SIZE
