from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture_protocol import DatagramCodec, DatagramError, Refusal, Start, StartFlag, Stop
from capture_protocol.datagram import FRESH_NS

RIG, KEY = b"r" * 16, b"k" * 32
CODEC = DatagramCodec(RIG, KEY)
NOW = 1_790_000_000 * 10**9
START = Start(7, NOW + 2 * 10**9, Fraction(30000, 1001), 30, 300, StartFlag.FORCED)
STOP = Stop(7, 12_345)

starts = st.builds(
    Start,
    session=st.integers(1, 2**32 - 1),
    t0_ns=st.integers(0, 2**63),
    rate=st.fractions(min_value=Fraction(1, 100), max_value=1000, max_denominator=2**20).filter(
        lambda rate: rate.numerator < 2**32
    ),
    gop=st.integers(1, 2**16 - 1),
    segment_slots=st.integers(1, 2**32 - 1),
    flags=st.sampled_from(StartFlag),
    slots=st.integers(0, 2**63),
)
stops = st.builds(Stop, session=st.integers(1, 2**32 - 1), last_slot=st.integers(0, 2**63))


def refusal(data: bytes, codec: DatagramCodec = CODEC, now_ns: int | None = NOW) -> Refusal:
    with pytest.raises(DatagramError) as caught:
        codec.decode(data, now_ns)
    return caught.value.refusal


@given(st.one_of(starts, stops))
def test_a_datagram_survives_the_way(message: Start | Stop) -> None:
    assert CODEC.decode(CODEC.encode(message, NOW), NOW) == message


@pytest.mark.parametrize("message", [START, STOP])
def test_every_changed_bit_is_refused(message: Start | Stop) -> None:
    data = CODEC.encode(message, NOW)
    for bit in range(len(data) * 8):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        assert refusal(bytes(changed)) in Refusal


@given(st.binary(max_size=200))
def test_garbage_is_malformed(data: bytes) -> None:
    assert refusal(data) in (Refusal.MALFORMED, Refusal.VERSION, Refusal.OTHER_RIG)


@pytest.mark.parametrize("cut", [1, 31, 32, 33])
def test_a_cut_or_padded_datagram_is_refused(cut: int) -> None:
    data = CODEC.encode(START, NOW)
    assert refusal(data[:-cut]) is Refusal.MALFORMED
    assert refusal(data + bytes(cut)) is Refusal.MALFORMED


def test_other_rig_version_and_key_are_told_apart() -> None:
    data = CODEC.encode(STOP, NOW)
    assert refusal(data, DatagramCodec(b"x" * 16, KEY)) is Refusal.OTHER_RIG
    assert refusal(data, DatagramCodec(RIG, b"x" * 32)) is Refusal.FORGED
    assert refusal(data[:4] + b"\x09" + data[5:]) is Refusal.VERSION


def test_stale_datagrams_are_refused_unless_the_way_vouches() -> None:
    data = CODEC.encode(STOP, NOW)
    assert refusal(data, now_ns=NOW + FRESH_NS + 1) is Refusal.STALE
    assert refusal(data, now_ns=NOW - FRESH_NS - 1) is Refusal.STALE
    assert CODEC.decode(data, NOW + FRESH_NS) == STOP
    assert CODEC.decode(data, None) == STOP


@pytest.mark.parametrize(
    "broken",
    [
        Start(1, NOW, Fraction(30), 0, 300),
        Start(1, NOW, Fraction(30), 30, 0),
        Start(1, NOW, Fraction(5000), 30, 300),
    ],
)
def test_a_signed_but_absurd_start_is_malformed(broken: Start) -> None:
    assert refusal(CODEC.encode(broken, NOW)) is Refusal.MALFORMED
