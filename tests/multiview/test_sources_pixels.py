"""Arrays of a frame: the same as FFmpeg's own conversion, whatever the size and format."""

import av
import numpy as np
import pytest

from multiview.sources import Frame, Picture


@pytest.mark.parametrize("size", [(64, 48), (70, 50), (130, 34)])
@pytest.mark.parametrize(
    "pixel_format", ["yuv420p", "yuv422p", "nv12", "yuv420p10le", "rgb24", "gray"]
)
def test_arrays_equal_ffmpegs_conversion(size: tuple[int, int], pixel_format: str) -> None:
    width, height = size
    noise = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    decoded = av.VideoFrame.from_ndarray(noise, format="bgr24").reformat(format=pixel_format)
    picture = Picture(decoded)
    assert picture.shape == (height, width)
    assert np.array_equal(picture.bgr, decoded.to_ndarray(format="bgr24"))
    assert np.array_equal(picture.rgb, decoded.to_ndarray(format="rgb24"))
    assert picture.bgr.flags.writeable
    grey = decoded.reformat(format="gray").to_ndarray()
    shown = picture.luma
    assert shown.shape == (height, width)
    if pixel_format in ("yuv420p", "yuv422p", "nv12", "gray"):
        plane = decoded.planes[0]
        coded = np.frombuffer(bytes(plane), np.uint8).reshape(-1, plane.line_size)
        assert np.array_equal(shown, coded[:height, :width])
    else:
        assert np.array_equal(shown, grey)


def test_an_array_outlives_its_frame() -> None:
    noise = np.random.default_rng(2).integers(0, 256, (48, 64, 3), np.uint8)
    kept = Picture.from_array(noise).bgr
    for _ in range(50):
        Picture.from_array(np.zeros_like(noise)).bgr.sum()
    assert np.array_equal(kept, noise)


def test_a_frame_without_pixels_is_not_valid() -> None:
    gone = Frame.missing("cam", 5_000_000_000, "lost")
    assert (gone.is_valid, gone.image, gone.timestamp, gone.frame_number) == (False, None, 5.0, -1)
    kept = Frame("cam", 0, 0, picture=Picture.from_array(np.zeros((16, 16, 3), np.uint8)))
    assert kept.is_valid
    assert kept.image is kept.image
