"""Pictures on their way from the capture process to a worker: a ring in shared memory."""

import mmap

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from capture_protocol.rig import NodeCamera
from edge_agent.camera.factory import NUMBER_SIZE, PICTURES, buffers_size


class PictureBuffers:
    """One writer, one reader, no lock: a picture carries its number, 0 while it is written."""

    def __init__(self, handle: int, config: NodeCamera) -> None:
        """Map a memfd that `make_buffers` made for the same camera."""
        self._shape = (config.height * 3 // 2, config.width)
        self._map = mmap.mmap(handle, buffers_size(config))
        pictures = np.frombuffer(self._map, np.uint8).reshape(PICTURES, -1)
        self._numbers = pictures[:, :NUMBER_SIZE].view(np.int64)[:, 0]
        self._pixels = pictures[:, NUMBER_SIZE:].reshape(PICTURES, *self._shape)

    def write(self, number: int, picture: NDArray[np.uint8]) -> None:
        """Store picture ``number`` (from 1 up), I420 of the camera's size."""
        place = number % PICTURES
        self._numbers[place] = 0
        self._pixels[place] = picture
        self._numbers[place] = number

    def read(self, number: int) -> VideoFrame | None:
        """Picture ``number``, or None if a later one has taken its place."""
        place = number % PICTURES
        if self._numbers[place] != number:
            return None
        frame = VideoFrame.from_ndarray(self._pixels[place], format="yuv420p")  # copies
        return frame if self._numbers[place] == number else None
