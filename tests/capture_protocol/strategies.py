"""Hypothesis strategies shared by the protocol's tests."""

from hypothesis import strategies as st

from capture_protocol import FrameRecord
from capture_protocol.frame import RECORD_VERSION

U16 = st.integers(0, 2**16 - 1)
U32 = st.integers(0, 2**32 - 1)
INSTANT = st.integers(0, 2**62)

frame_records = st.builds(
    FrameRecord,
    version=st.just(RECORD_VERSION),
    lock=st.integers(0, 3),
    flags=U16,
    camera=U16,
    session=U32,
    slot=st.integers(0, 2**40),
    slot_time_ns=INSTANT,
    rate_num=st.integers(1, 2**32 - 1),
    rate_den=st.integers(1, 2**32 - 1),
    release_ns=INSTANT,
    frame_start_ns=INSTANT,
    exposure_ns=U32,
    line_time_ns=U32,
    rows=U16,
    sequence=U32,
    frame_duration_ns=U32,
    gain_milli=U32,
    sensor_delay_ns=st.integers(-(2**31), 2**31 - 1),
    clock_offset_ns=st.integers(-(2**62), 2**62),
    clock_uncertainty_ns=U32,
    stamp_uncertainty_ns=U32,
)
