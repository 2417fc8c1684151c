"""Lost frames are told from the numbers that an H.264 encoder writes."""

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiview.live._continuity import FrameCounter

REFERENCE = 0x60
CODINGS = {
    "plain": ("yuv420p", {"bf": "0"}),
    "b-frames": ("yuv420p", {"bf": "2", "x264-params": "b-adapt=0"}),
    "b-references": ("yuv420p", {"bf": "3", "x264-params": "b-adapt=0:b-pyramid=normal"}),
    "4:4:4 with matrices": ("yuv444p", {"bf": "0", "x264-params": "cqm=jvt"}),
    "slices": ("yuv420p", {"bf": "0", "x264-params": "slices=4"}),
}


def encoded(coding: str, count: int = 70) -> list[bytes]:
    """Noise, in packets as they come by RTSP: several groups, frame numbers that wrap."""
    pixel_format, options = CODINGS[coding]
    codec = av.CodecContext.create("libx264", "w")
    codec.width, codec.height, codec.pix_fmt = 64, 48, pixel_format
    codec.framerate, codec.gop_size = 25, 45  # no whole number of wraps, which would hide a loss
    codec.options = {"preset": "ultrafast", "flags": "-global_header", **options}
    rng = np.random.default_rng(1)
    packets = []
    for _ in range(count):
        image = rng.integers(0, 255, (48, 64, 3), np.uint8)
        packets += codec.encode(av.VideoFrame.from_ndarray(image, format="rgb24"))
    return [bytes(packet) for packet in packets + codec.encode(None)]


def is_reference(packet: bytes) -> bool:
    slices = [
        packet[at + 3]
        for at in range(len(packet) - 3)
        if packet[at : at + 3] == b"\0\0\1" and packet[at + 3] & 31 in (1, 5)
    ]
    return bool(slices[0] & REFERENCE)


@pytest.mark.parametrize("coding", CODINGS)
def test_a_whole_stream_has_no_gap(coding: str) -> None:
    counter = FrameCounter()
    assert not any(counter.lost_before(packet) for packet in encoded(coding))


@pytest.mark.parametrize("coding", CODINGS)
def test_every_lost_reference_is_noticed_at_the_next_frame(coding: str) -> None:
    packets = encoded(coding)
    lost = [k for k, packet in enumerate(packets[:-1]) if k and is_reference(packet)]
    assert len(lost) > 15
    for k in lost:
        counter = FrameCounter()
        for packet in packets[:k]:
            assert not counter.lost_before(packet)
        is_key = packets[k + 1][4] & 31 in (7, 9)
        assert counter.lost_before(packets[k + 1]) != is_key


def test_frames_that_nothing_refers_to_may_be_missing() -> None:
    packets = encoded("b-frames")
    kept = [packet for packet in packets if is_reference(packet)]
    assert len(kept) < len(packets)
    counter = FrameCounter()
    assert not any(counter.lost_before(packet) for packet in kept)


@given(st.lists(st.binary(max_size=80), max_size=8))
def test_damaged_units_do_not_break_it(units: list[bytes]) -> None:
    counter = FrameCounter()
    for unit in units:
        for header in (b"\x67", b"\x65", b"\x41", b""):
            assert counter.lost_before(b"\0\0\1" + header + unit) in (True, False)
