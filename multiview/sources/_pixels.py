"""From decoded pictures to arrays, without copying what was converted."""

from __future__ import annotations

import threading
from typing import Literal

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

THREADS = 1
"""FFmpeg's converter would start one per core for each picture, and wait for all: on cores that
decode, or that others use, the waiting costs more than the conversion."""


class _Local(threading.local):
    """FFmpeg's converter is costly to set up, and serves one thread at a time."""

    def __init__(self) -> None:
        self.reformatter = VideoReformatter()


_local = _Local()


def to_pixels(decoded: av.VideoFrame, pixel_format: Literal["bgr24", "rgb24"]) -> NDArray[np.uint8]:
    """H×W×3 uint8; a view of the converted picture, rows may be padded in memory."""
    converted = _local.reformatter.reformat(decoded, format=pixel_format, threads=THREADS)
    plane = converted.planes[0]
    shape = (converted.height, converted.width, 3)
    return np.ndarray(shape, np.uint8, memoryview(plane), strides=(plane.line_size, 3, 1))


def luma_plane(decoded: av.VideoFrame) -> NDArray[np.uint8]:
    """H×W uint8 brightness: the first plane of 8-bit planar YUV as it is, else converted."""
    planar = decoded.format.name.startswith(("yuv4", "yuvj4", "nv12", "gray"))
    if not planar or decoded.format.components[0].bits != 8:
        decoded = decoded.reformat(format="gray", threads=THREADS)
    plane = decoded.planes[0]
    shape = (decoded.height, decoded.width)
    return np.ndarray(shape, np.uint8, memoryview(plane), strides=(plane.line_size, 1))
