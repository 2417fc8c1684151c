"""Frames that belong together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from multiview.sources import NS_PER_S, Frame


@dataclass(frozen=True, slots=True)
class FrameSet:
    """One frame per camera for one instant of the common timeline.

    Every camera has an entry; a frame that is missing or unusable says so in its ``reason``.
    """

    time_ns: int
    """The instant that was asked for."""
    frames: Mapping[str, Frame]

    @property
    def timestamp(self) -> float:
        """``time_ns`` in seconds."""
        return self.time_ns / NS_PER_S

    @property
    def valid(self) -> dict[str, Frame]:
        """The usable frames by camera."""
        return {camera: frame for camera, frame in self.frames.items() if frame.is_valid}

    @property
    def skew_ns(self) -> int:
        """Latest minus earliest time among the usable frames; 0 for fewer than two."""
        times = [frame.time_ns for frame in self.valid.values()]
        return max(times) - min(times) if times else 0

    @property
    def uncertainty_ns(self) -> int:
        """The largest standard deviation among the usable frames' times."""
        return max((frame.uncertainty_ns for frame in self.valid.values()), default=0)


def is_frame_batch_valid(frames: Mapping[str, Frame], min_cameras: int = 2) -> bool:
    """Whether enough cameras have a usable frame to go on with."""
    return sum(frame.is_valid for frame in frames.values()) >= min_cameras
