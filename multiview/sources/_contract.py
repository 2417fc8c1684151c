"""What a source of video is: one contract for files, sessions, live streams and synthetic scenes.

Times are integer nanoseconds, because float seconds cannot hold UTC to the microsecond.
A source speaks in its *own* clock; a timeline maps that clock to the common one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from types import MappingProxyType, TracebackType
from typing import Protocol, Self, runtime_checkable

import av
import numpy as np
from numpy.typing import NDArray

from multiview.sources._pixels import luma_plane, to_pixels

NS_PER_S = 1_000_000_000

Image = NDArray[np.uint8]


class Clock(Enum):
    """What a source's times count from."""

    UTC = "utc"
    """Unix time of a disciplined clock: sources with this clock already share a timeline."""
    OWN = "own"
    """The source's own zero, such as a file's first frame: needs an offset to be compared."""


class Picture:
    """The pixels of one frame, converted only when asked for and kept while it lives."""

    def __init__(self, decoded: av.VideoFrame) -> None:
        self.decoded = decoded

    @classmethod
    def from_array(cls, bgr: Image) -> Picture:
        """Wrap an H×W×3 uint8 BGR array."""
        return cls(av.VideoFrame.from_ndarray(bgr, format="bgr24"))

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.decoded.height, self.decoded.width

    @cached_property
    def bgr(self) -> Image:
        """H×W×3 uint8, blue first (OpenCV's order)."""
        return to_pixels(self.decoded, "bgr24")

    @cached_property
    def rgb(self) -> Image:
        """H×W×3 uint8, red first."""
        return to_pixels(self.decoded, "rgb24")

    @cached_property
    def luma(self) -> Image:
        """H×W uint8 brightness as coded; for YUV video a view of the decoder's plane, uncopied."""
        return luma_plane(self.decoded)


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of one camera: when it was taken, how sure that is, and its pixels."""

    camera_id: str
    time_ns: int
    """When the frame was taken, on the clock of whoever handed it out (source or timeline)."""
    frame_number: int
    """Position in the source in order of presentation, from 0; -1 for a frame that is not there."""
    picture: Picture | None = None
    """None if there are no pixels; then ``reason`` says why."""
    uncertainty_ns: int = 0
    """One standard deviation of ``time_ns``."""
    source_time_ns: int | None = None
    """The time on the source's own clock, where ``time_ns`` is on a common timeline."""
    reason: str = ""
    """Why the frame is not valid; empty for a valid one."""
    metadata: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    """What else the source knows of this frame (key frame, estimated time, evidence)."""

    @classmethod
    def missing(cls, camera_id: str, time_ns: int, reason: str) -> Frame:
        """Stand in for a frame that is not there."""
        return cls(camera_id, time_ns, -1, reason=reason)

    @property
    def is_valid(self) -> bool:
        """Whether the frame has pixels that may be used."""
        return self.picture is not None and not self.reason

    @property
    def timestamp(self) -> float:
        """``time_ns`` in seconds; good to about 0.2 µs for UTC."""
        return self.time_ns / NS_PER_S

    @property
    def image(self) -> Image | None:
        """H×W×3 uint8 BGR, or None if the frame has no pixels."""
        return None if self.picture is None else self.picture.bgr


@dataclass(frozen=True, slots=True)
class VideoMetadata:
    """What is known of a source after it was opened."""

    camera_id: str
    width: int
    height: int
    fps: float
    """Median rate over the frames that are there (for a live stream: as announced), in Hz."""
    codec: str
    clock: Clock = Clock.OWN
    total_frames: int | None = None
    """Frames that are really there, not what a header claims; None for a live stream."""
    start_ns: int = 0
    """Time of the first frame."""
    duration_ns: int | None = None
    """From the first frame to the end of the last; None for a live stream."""
    complete: bool = True
    """False if the source is known to hold less than it should (a truncated file)."""
    decoder: str = "software"
    """What decodes: "software", or the kind of hardware device ("vaapi", "cuda", "drm", ...)."""
    notes: tuple[str, ...] = ()
    """Findings a person should know: truncation, estimated times, duplicates."""

    @property
    def duration(self) -> float | None:
        """``duration_ns`` in seconds."""
        return None if self.duration_ns is None else self.duration_ns / NS_PER_S


@runtime_checkable
class VideoSource(Protocol):
    """A camera's frames in order of time.

    ``open`` and reading raise ``SourceError`` with the reason. ``release``
    may be called at any time and more than once. Sources are context managers::

        with FileVideoSource("cam1.mp4", "cam1") as source:
            frame = source.frame_at(10_500_000_000)
    """

    camera_id: str

    def open(self) -> None:
        """Open for reading; the first frame is the next to be read."""
        ...

    def get_metadata(self) -> VideoMetadata:
        """Size, rate, extent and findings."""
        ...

    def frame_at(self, time_ns: int) -> Frame:
        """The frame whose time is nearest; of two equally near, the earlier.

        Outside the source this is its first or last frame: compare the times.
        """
        ...

    def frames(self, start_ns: int | None = None, end_ns: int | None = None) -> Iterator[Frame]:
        """Every frame with ``start_ns <= time < end_ns``, lazily and in order."""
        ...

    def read_frame(self) -> Frame | None:
        """The next frame in order, or None at the end."""
        ...

    def seek(self, time_ns: int) -> None:
        """Let ``read_frame`` continue with the first frame at or after this time."""
        ...

    def release(self) -> None:
        """Close files and connections and drop buffered frames."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
