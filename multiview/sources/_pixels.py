"""From decoded pictures to arrays."""

from __future__ import annotations

import av
import numpy as np
from numpy.typing import NDArray


def to_pixels(decoded: av.VideoFrame, pixel_format: str) -> NDArray[np.uint8]:
    """H×W×3 uint8 in ``pixel_format`` ("bgr24" or "rgb24")."""
    return decoded.to_ndarray(format=pixel_format).astype(np.uint8, copy=False)


def luma_plane(decoded: av.VideoFrame) -> NDArray[np.uint8]:
    """H×W uint8 brightness: the first plane of 8-bit planar YUV as it is, else converted."""
    if (
        not decoded.format.name.startswith(("yuv4", "yuvj4", "nv12", "gray"))
        or decoded.format.components[0].bits != 8
    ):
        decoded = decoded.reformat(format="gray")
    plane = decoded.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    return rows[: decoded.height, : decoded.width]
