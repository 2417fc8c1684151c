"""The index of frames, from packets that were written down by hand."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multiview.errors import SyncConfigError
from multiview.sources._index import (
    PacketRow,
    build_index,
    presentation_order,
    ticks_to_ns,
    typical_period_ns,
)
from multiview.sources._numbered import first_from, nearest

MS = Fraction(1, 1000)
PERIOD = Fraction(1, 25)


def rows(*packets: tuple[int | None, bool]) -> list[PacketRow]:
    """Packets of (pts, key) in the order of the file, one after the other in it."""
    return [PacketRow(pts, n, 100 * n, 90, key, False) for n, (pts, key) in enumerate(packets)]


def test_frames_are_ordered_by_their_stamps() -> None:
    packets = rows((0, True), (120, False), (40, False), (80, False))
    index = build_index(packets, presentation_order(packets) or (), MS, PERIOD)
    assert index.times_ns.tolist() == [0, 40_000_000, 80_000_000, 120_000_000]
    assert index.packet_of_frame.tolist() == [0, 2, 3, 1]
    assert index.frame_of_packet.tolist() == [0, 3, 1, 2]
    assert not index.estimated.any()
    assert index.sigma_ns.tolist() == [288_675] * 4


def test_leading_pictures_of_an_open_group_begin_at_the_group_before() -> None:
    packets = rows((0, True), (40, False), (160, True), (80, False), (120, False), (200, False))
    index = build_index(packets, presentation_order(packets) or (), MS, PERIOD)
    assert index.entry_of_frame.tolist() == [0, 0, 0, 0, 2, 2]


def test_what_an_edit_list_hides_is_no_frame_but_may_be_an_entry() -> None:
    packets = rows((-80, True), (-40, False), (0, False), (40, False))
    hidden = [row._replace(discard=row.pts is not None and row.pts < 0) for row in packets]
    index = build_index(hidden, presentation_order(hidden) or (), MS, PERIOD)
    assert index.times_ns.tolist() == [0, 40_000_000]
    assert index.entry_of_frame.tolist() == [0, 0]
    assert index.frame_of_packet.tolist() == [-1, -1, 0, 1]


def test_missing_stamps_are_estimated_from_neighbours() -> None:
    packets = rows(
        (None, True), (40, False), (None, False), (None, False), (100, False), (None, False)
    )
    assert presentation_order(packets) is None
    index = build_index(packets, range(6), MS, PERIOD)
    assert index.times_ns.tolist() == [0, 40e6, 60e6, 80e6, 100e6, 140e6]
    assert index.estimated.tolist() == [True, False, True, True, False, True]
    assert index.sigma_ns[:2].tolist() == [20_000_000, 288_675]


def test_without_presentation_stamps_the_kth_shown_gets_the_kth_decoding_stamp() -> None:
    packets = [PacketRow(None, dts, dts, 9, dts == 0, False) for dts in (0, 40, 80, 120)]
    index = build_index(packets, [0, 2, 3, 1], MS, PERIOD)
    assert index.times_ns.tolist() == [0, 40e6, 80e6, 120e6]
    assert not index.estimated.any()


def test_a_file_without_stamps_gets_the_assumed_rate() -> None:
    packets = [PacketRow(None, None, n, 9, n == 0, False) for n in range(3)]
    index = build_index(packets, range(3), MS, PERIOD)
    assert index.times_ns.tolist() == [0, 40e6, 80e6]
    assert index.estimated.all()


def test_absurd_stamps_count_as_missing() -> None:
    packets = rows((0, True), (2**62, False), (80, False))
    index = build_index(packets, [0, 1, 2], MS, PERIOD)
    assert index.times_ns.tolist() == [0, 40e6, 80e6]
    assert index.estimated.tolist() == [False, True, False]


def test_a_stream_without_key_packets_begins_at_its_start() -> None:
    packets = rows((0, False), (40, False))
    index = build_index(packets, [0, 1], MS, PERIOD)
    assert index.entry_of_frame.tolist() == [0, 0]


def test_given_times_replace_the_containers() -> None:
    packets = rows((0, True), (40, False), (80, False))
    index = build_index(packets, [0, 1, 2], MS, PERIOD)
    given_times = index.with_times([10, None, 30], 5)
    assert given_times.times_ns.tolist() == [10, 20, 30]
    assert given_times.estimated.tolist() == [False, True, False]
    for wrong in ([1, 2], [3, 2, 1], [None, None, None]):
        with pytest.raises(SyncConfigError):
            index.with_times(wrong)


@given(st.integers(-(2**60), 2**60), st.integers(1, 10**6), st.integers(1, 10**6))
def test_ticks_become_the_nearest_nanosecond(ticks: int, numerator: int, denominator: int) -> None:
    exact = ticks * Fraction(numerator, denominator) * 10**9
    assert abs(ticks_to_ns(ticks, Fraction(numerator, denominator)) - exact) <= Fraction(1, 2)


@given(st.lists(st.integers(-(10**6), 10**6), min_size=1), st.integers(-(2**80), 2**80))
def test_nearest_and_first_from_agree_with_plain_search(times: list[int], asked: int) -> None:
    ordered = np.array(sorted(times), dtype=np.int64)
    plain = min(range(len(times)), key=lambda k: (abs(int(ordered[k]) - asked), k))
    assert nearest(ordered, asked) == plain
    assert first_from(ordered, asked) == sum(int(t) < asked for t in ordered)


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.one_of(st.none(), st.integers(-(2**63), 2**63)), st.booleans()), min_size=1
    ),
    st.randoms(),
)
def test_any_packets_give_an_index_that_can_be_searched(packets, random) -> None:
    listed = rows(*packets)
    order = presentation_order(listed) or random.sample(range(len(listed)), len(listed))
    index = build_index(listed, order, MS, PERIOD)
    assert len(index) == len(packets)
    assert (np.diff(index.times_ns) >= 0).all()
    assert (index.entry_of_frame <= index.packet_of_frame).all() or not any(k for _, k in packets)
    assert sorted(index.packet_of_frame) == list(range(len(packets)))


def test_the_typical_period_leaves_out_gaps_and_repeats() -> None:
    times = np.array([0, 33, 67, 100, 100, 133, 900, 933, 967]) * 1_000_000
    assert typical_period_ns(times) == pytest.approx(33.3e6, rel=0.01)
    assert typical_period_ns(times[:1]) == 0
