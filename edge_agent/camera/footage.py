"""A video file with its pictures by number."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
from av.video.frame import VideoFrame

from capture_protocol.errors import InputError
from edge_agent.camera.contract import CameraError

_SEEK_AHEAD = 60
"""Decoding this many pictures costs less than a seek and its run-up from a key frame."""


def resolve(device: str, folder: Path) -> Path:
    """The file that ``device`` names, relative to node.toml's folder."""
    if not device:
        raise InputError("a file camera needs `device`: the path of a video file")
    return folder / device


class Footage:
    """Pictures of a video file by number, in the order in which they are shown."""

    def __init__(self, path: Path) -> None:
        """Open the file and index its pictures (reads it once, without decoding).

        Raises:
            CameraError: not there, or not a video.
        """
        try:
            self._container = av.open(str(path))
        except (OSError, av.FFmpegError) as error:
            raise CameraError(f"{path} cannot be opened as a video: {error}") from error
        if not self._container.streams.video:
            raise CameraError(f"{path} has no video stream")
        self._stream = self._container.streams.video[0]
        self._stream.thread_count = 1
        packets = self._container.demux(self._stream)
        self._pts = sorted(packet.pts for packet in packets if packet.pts is not None)
        if not self._pts:
            raise CameraError(f"{path} has no pictures with time stamps")
        self.rate: Fraction = self._stream.average_rate or Fraction(30)
        self._pictures: Iterator[VideoFrame] = iter(())
        self._next = 0
        self._rewind(0)

    def __len__(self) -> int:
        return len(self._pts)

    def picture(self, number: int) -> VideoFrame:
        """The picture ``number``, counted from 0; quick when numbers ascend.

        Raises:
            CameraError: the file cannot be decoded there.
        """
        if not self._next <= number < self._next + _SEEK_AHEAD:
            self._rewind(number)
        wanted = self._pts[number]
        for frame in self._pictures:
            if frame.pts is not None and frame.pts >= wanted:
                self._next = number + 1
                return frame
        raise CameraError(f"{self._container.name} ends before picture {number}")

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def _rewind(self, number: int) -> None:
        self._container.seek(self._pts[number], stream=self._stream, backward=True)
        self._pictures = self._container.decode(self._stream)
        self._next = number
