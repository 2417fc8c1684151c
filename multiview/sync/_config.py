"""What to read, and how it lies on the common timeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal, Self, TypeAlias

from multiview.errors import SyncConfigError
from multiview.live import LiveVideoSource
from multiview.sources import (
    NS_PER_S,
    FileVideoSource,
    SessionVideoSource,
    VideoSource,
    session_cameras,
)
from multiview.sync._aligned import AlignedSource
from multiview.sync._timemap import TimeMap
from multiview.timeline import Evidence, Timeline

SourceType: TypeAlias = Literal["auto", "file", "session", "stream"]
MAX_OFFSET_S = 1e10
"""Three hundred years: more is a mistake of units, and would overflow nanoseconds."""


class Strategy(StrEnum):
    """What becomes of an instant at which a camera has no frame within the tolerance."""

    SKIP = "skip"
    """the instant is left out"""
    PARTIAL = "partial"
    """go on with the cameras that have one, if they are enough"""
    INTERPOLATE = "interpolate"
    """mix the camera's neighbouring frames if the gap is short, else as partial"""


@dataclass(frozen=True)
class VideoSourceConfig:
    """One camera's video.

    ``offset_seconds`` and ``drift_ppm`` say how its clock lies on the common timeline:
    ``t = t_source·(1 + drift_ppm/10⁶) + offset_seconds``. A ``time_map`` (from flashes, audio or
    a fit) takes their place.
    """

    path: str | Path
    """A video file, the folder of a recorded session, or the URL of a live stream (as text)."""
    camera_id: str
    source_type: SourceType = "auto"
    offset_seconds: float = 0.0
    drift_ppm: float = 0.0
    time_map: TimeMap | None = None
    frame_times_ns: Sequence[int] | None = None
    """Times of all frames in order, where something better than the container recorded them."""
    calibration_path: str | Path | None = None
    """Kept for those who need it later; checked for being there."""
    source: VideoSource | None = None
    """A source of any kind in place of ``path``: synthetic, live, or one of your own."""

    @classmethod
    def of(cls, source: VideoSource, *, time_map: TimeMap | None = None) -> Self:
        """Take a source that exists, not yet open."""
        return cls("", source.camera_id, source=source, time_map=time_map)

    def aligned_source(
        self, *, window_s: float = 5.0, decoder_threads: int | None = None
    ) -> AlignedSource:
        """The source, not yet open, on the common timeline."""
        own = self.own_source(window_s=window_s, decoder_threads=decoder_threads)
        return AlignedSource(own, self.time_map or self._timeline())

    def own_source(
        self, *, window_s: float = 5.0, decoder_threads: int | None = None
    ) -> VideoSource:
        """The source, not yet open, on its own clock.

        Raises:
            SyncConfigError: an unknown type, or no calibration at the given place.
        """
        if self.calibration_path is not None and not Path(self.calibration_path).is_file():
            raise SyncConfigError(f"{self.camera_id}: no calibration at {self.calibration_path}")
        if self.source is not None:
            return self.source
        match self._resolved_type():
            case "file":
                return FileVideoSource(
                    self.path,
                    self.camera_id,
                    window_s=window_s,
                    frame_times_ns=self.frame_times_ns,
                    decoder_threads=decoder_threads,
                )
            case "stream":
                return LiveVideoSource(str(self.path), self.camera_id)
            case "session":
                return SessionVideoSource(
                    self.path, self.camera_id, window_s=window_s, decoder_threads=decoder_threads
                )
            case unknown:
                raise SyncConfigError(f"{self.camera_id}: unknown source type {unknown!r}")

    def _resolved_type(self) -> str:
        if self.source_type != "auto":
            return self.source_type
        if "://" in str(self.path):
            return "stream"
        return "session" if Path(self.path).is_dir() else "file"

    def _timeline(self) -> Timeline:
        if not abs(self.offset_seconds) < MAX_OFFSET_S:
            raise SyncConfigError(f"{self.camera_id}: an offset of {self.offset_seconds} s")
        return Timeline(
            at_origin_ns=round(self.offset_seconds * NS_PER_S),
            drift=self.drift_ppm * 1e-6,
            evidence=Evidence.GIVEN,
        )


def session_configs(session: str | Path) -> list[VideoSourceConfig]:
    """All cameras of a recorded session: their evidence already is on one timeline."""
    return [VideoSourceConfig(session, camera, "session") for camera in session_cameras(session)]
