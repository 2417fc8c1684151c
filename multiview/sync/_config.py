"""What to read, and how it lies on the common timeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal, TypeAlias

from multiview.errors import SyncConfigError
from multiview.sources import NS_PER_S, FileVideoSource, VideoSource
from multiview.sync._aligned import AlignedSource
from multiview.sync._timemap import TimeMap
from multiview.timeline import Evidence, Timeline

SourceType: TypeAlias = Literal["file"]
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
    camera_id: str
    source_type: SourceType = "file"
    offset_seconds: float = 0.0
    drift_ppm: float = 0.0
    time_map: TimeMap | None = None
    frame_times_ns: Sequence[int] | None = None
    """Times of all frames in order, where something better than the container recorded them."""
    calibration_path: str | Path | None = None
    """Kept for those who need it later; checked for being there."""

    def aligned_source(self, *, window_s: float) -> AlignedSource:
        """The source, not yet open, on the common timeline."""
        return AlignedSource(self.source(window_s=window_s), self.time_map or self._timeline())

    def source(self, *, window_s: float) -> VideoSource:
        """The source, not yet open, on its own clock."""
        if self.calibration_path is not None and not Path(self.calibration_path).is_file():
            raise SyncConfigError(f"{self.camera_id}: no calibration at {self.calibration_path}")
        if self.source_type == "file":
            return FileVideoSource(
                self.path, self.camera_id, window_s=window_s, frame_times_ns=self.frame_times_ns
            )
        raise SyncConfigError(f"{self.camera_id}: unknown source type {self.source_type!r}")

    def _timeline(self) -> Timeline:
        if not abs(self.offset_seconds) < MAX_OFFSET_S:
            raise SyncConfigError(f"{self.camera_id}: offset of {self.offset_seconds} s")
        return Timeline(
            at_origin_ns=round(self.offset_seconds * NS_PER_S),
            drift=self.drift_ppm * 1e-6,
            evidence=Evidence.GIVEN,
        )
