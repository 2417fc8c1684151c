import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from capture_protocol import Event, EventKind, FrameRecord
from capture_protocol.events import (
    CLOCK_DTYPE,
    CLOCK_STRUCT,
    ENCODED_DTYPE,
    ENCODED_STRUCT,
    EVENT_DTYPE,
    EVENT_SIZE,
    LOST_DTYPE,
    LOST_STRUCT,
    PAYLOAD_SIZE,
    RELEASE_DTYPE,
    RELEASE_STRUCT,
    STATE_DTYPE,
    STATE_STRUCT,
    iter_events,
    payload_array,
    unpack_event,
)
from capture_protocol.frame import FRAME_DTYPE
from tests.capture_protocol.strategies import U16, U32, frame_records

events = st.builds(
    Event,
    number=st.integers(1, 2**63),
    mono_ns=st.integers(0, 2**63),
    session=U32,
    camera=U16,
    kind=st.sampled_from(EventKind),
    payload=st.binary(min_size=PAYLOAD_SIZE, max_size=PAYLOAD_SIZE),
)


def test_struct_and_numpy_layouts_agree() -> None:
    assert EVENT_DTYPE.itemsize == EVENT_SIZE
    for layout, dtype in (
        (RELEASE_STRUCT, RELEASE_DTYPE),
        (LOST_STRUCT, LOST_DTYPE),
        (ENCODED_STRUCT, ENCODED_DTYPE),
        (CLOCK_STRUCT, CLOCK_DTYPE),
        (STATE_STRUCT, STATE_DTYPE),
    ):
        assert layout.size == dtype.itemsize <= PAYLOAD_SIZE


@given(events)
def test_an_event_survives_packing(event: Event) -> None:
    assert unpack_event(event.pack()) == event


@given(events, st.integers(0, EVENT_SIZE - 1), st.integers(1, 255))
def test_any_changed_byte_is_noticed(event: Event, at: int, change: int) -> None:
    damaged = bytearray(event.pack())
    damaged[at] ^= change
    assert unpack_event(bytes(damaged)) is None


@given(st.lists(events, max_size=5), st.binary(max_size=EVENT_SIZE - 1))
def test_a_torn_tail_loses_nothing_before_it(written: list[Event], torn: bytes) -> None:
    data = b"".join(event.pack() for event in written) + torn
    assert list(iter_events(data)) == written


@given(st.lists(frame_records, min_size=1, max_size=4))
def test_payloads_of_one_kind_come_as_an_array(records: list[FrameRecord]) -> None:
    log = [Event(1, 0, 1, 0, EventKind.LOST, LOST_STRUCT.pack(7, 2))]
    log += [Event(2 + i, 0, 1, 0, EventKind.FRAME, r.pack()) for i, r in enumerate(records)]
    array = np.frombuffer(b"".join(event.pack() for event in log), EVENT_DTYPE)
    frames = payload_array(array, EventKind.FRAME, FRAME_DTYPE)
    assert [int(slot) for slot in frames["slot"]] == [record.slot for record in records]
    assert payload_array(array, EventKind.LOST, LOST_DTYPE)["slot"].tolist() == [7]
    assert len(payload_array(array, EventKind.STEP, CLOCK_DTYPE)) == 0
