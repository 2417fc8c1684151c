"""The optical clock: exact through real encoders, and never a wrong time."""

from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capture_protocol import optical_clock
from capture_protocol.errors import InputError

INSTANTS = st.integers(0, 2**64 - 1)
SIZES = [(480, 640), (720, 1280), (120, 160), (1080, 1920), (242, 324)]

deterministic = settings(derandomize=True, deadline=None)


def shown(luma):
    return [reading.instant_ns for reading in optical_clock.read(luma)]


@deterministic
@given(st.lists(INSTANTS, min_size=3, max_size=3), st.sampled_from(SIZES))
def test_every_instant_reads_back_exactly(instants, size):
    luma = np.full(size, 90, np.uint8)
    optical_clock.draw(luma, instants)
    assert shown(luma) == instants


def test_bands_sit_at_top_middle_and_bottom():
    assert optical_clock.band_rows(480, 640) == (16, 240, 464)
    luma = np.full((480, 640), 90, np.uint8)
    optical_clock.draw(luma, [1, 2, 3])
    assert [reading.row for reading in optical_clock.read(luma)] == [16, 240, 464]
    untouched = np.r_[32:224, 256:448]
    assert (luma[untouched] == 90).all()


def test_draws_into_a_strided_view():
    picture = np.full((480, 800), 90, np.uint8)
    optical_clock.draw(picture[:, 80:720], [5, 6, 7])
    assert shown(picture[:, 80:720]) == [5, 6, 7]
    assert (picture[:, :80] == 90).all()


@deterministic
@given(INSTANTS, st.lists(st.integers(0, 79), min_size=1, max_size=3, unique=True))
def test_up_to_three_misread_cells_are_never_taken_for_a_time(instant, cells):
    luma = np.full((240, 320), 90, np.uint8)
    optical_clock.draw(luma, [instant] * 3)
    for cell in cells:
        row, column = divmod(cell, 40)
        block = luma[row * 8 : row * 8 + 8, column * 8 : column * 8 + 8]
        block[:] = 251 - block
    assert shown(luma) == [None, instant, instant]


@deterministic
@given(st.integers(0, 2**32 - 1))
def test_noise_and_flat_pictures_show_no_time(seed):
    noise = np.random.default_rng(seed).integers(0, 256, (240, 320), np.uint8)
    assert shown(noise) == [None] * 3
    assert shown(np.full((240, 320), seed % 256, np.uint8)) == [None] * 3


def test_an_all_black_or_all_white_band_is_not_a_code():
    for level in (optical_clock.BLACK, optical_clock.WHITE):
        assert shown(np.full((480, 640), level, np.uint8)) == [None] * 3


def test_a_picture_without_room_is_refused_for_drawing_and_empty_for_reading():
    assert optical_clock.read(np.zeros((90, 120), np.uint8)) == []
    with pytest.raises(InputError, match="too small") as refused:
        optical_clock.draw(np.zeros((90, 120), np.uint8), [1, 2, 3])
    assert "160 pixels" in refused.value.hint


@pytest.mark.parametrize("instants", [[1, 2], [1, 2, -1], [1, 2, 2**64]])
def test_bad_instants_are_refused(instants):
    with pytest.raises(InputError, match="optical clock"):
        optical_clock.draw(np.zeros((480, 640), np.uint8), instants)


@pytest.mark.parametrize(
    ("codec", "options", "bit_rate"),
    [
        ("libx264", {"preset": "ultrafast", "tune": "zerolatency"}, 700_000),
        ("libx265", {"preset": "ultrafast", "x265-params": "log-level=error"}, 500_000),
    ],
)
def test_survives_the_encoders_at_ordinary_bit_rates(codec, options, bit_rate):
    """A busy picture around the bands starves them of bits, as real footage does."""
    rng = np.random.default_rng(4)
    backdrop = rng.integers(0, 256, (90, 100), np.uint8).repeat(8, 0).repeat(8, 1)
    expected = [[10**18 * band + 33_333_333 * n + 7 for band in range(3)] for n in range(30)]
    decoded = list(_through_codec(codec, options, bit_rate, backdrop, expected))
    assert [shown(luma) for luma in decoded] == expected


def _through_codec(codec, options, bit_rate, backdrop, instants):
    encoder = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height, encoder.pix_fmt = 640, 480, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, 30), Fraction(30)
    encoder.bit_rate, encoder.options = bit_rate, options
    decoder = av.CodecContext.create("h264" if codec == "libx264" else "hevc", "r")
    picture = np.full((720, 640), 128, np.uint8)
    packets = []
    for number, bands in enumerate(instants):
        picture[:480] = backdrop[number : number + 480, 3 * number : 3 * number + 640]
        optical_clock.draw(picture[:480], bands)
        frame = av.VideoFrame.from_ndarray(picture, "yuv420p")
        frame.pts = number
        packets += encoder.encode(frame)
    for packet in [*packets, *encoder.encode(None), None]:
        for frame in decoder.decode(packet):
            yield frame.to_ndarray(format="yuv420p")[:480]
