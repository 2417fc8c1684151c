"""Pictures on their way from the capture process to a worker: a ring in shared memory."""

import mmap
import os

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from capture_protocol.rig import NodeCamera

_PICTURES = 8
"""A worker that is more than seven pictures behind loses some: 0.23 s at 30 fps."""
_NUMBER_SIZE = 8


class PictureBuffers:
    """One writer, one reader, no lock: a picture carries its number, 0 while it is written."""

    def __init__(self, handle: int, config: NodeCamera) -> None:
        """Map a memfd that `make_buffers` made for the same camera."""
        self._shape = (config.height * 3 // 2, config.width)
        self._map = mmap.mmap(handle, _size(config))
        pictures = np.frombuffer(self._map, np.uint8).reshape(_PICTURES, -1)
        self._numbers = pictures[:, :_NUMBER_SIZE].view(np.int64)[:, 0]
        self._pixels = pictures[:, _NUMBER_SIZE:].reshape(_PICTURES, *self._shape)

    def write(self, number: int, picture: NDArray[np.uint8]) -> None:
        """Store picture ``number`` (from 1 up), I420 of the camera's size."""
        place = number % _PICTURES
        self._numbers[place] = 0
        self._pixels[place] = picture
        self._numbers[place] = number

    def read(self, number: int) -> VideoFrame | None:
        """Picture ``number``, or None if a later one has taken its place."""
        place = number % _PICTURES
        if self._numbers[place] != number:
            return None
        frame = VideoFrame.from_ndarray(self._pixels[place], format="yuv420p")  # copies
        return frame if self._numbers[place] == number else None


def make_buffers(config: NodeCamera) -> int:
    """A memfd of the right size; it has no name that another process could open."""
    handle = os.memfd_create(f"pictures-{config.name}")
    os.ftruncate(handle, _size(config))
    return handle


def _size(config: NodeCamera) -> int:
    return _PICTURES * (_NUMBER_SIZE + config.height * config.width * 3 // 2)
