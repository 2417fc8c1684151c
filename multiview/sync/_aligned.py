"""A source seen through its time map: the same frames, on the common timeline."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import hypot
from typing import Self

from multiview._released import Released
from multiview.sources import Frame, VideoMetadata, VideoSource
from multiview.sync._timemap import TimeMap


class AlignedSource(Released):
    """A source whose times are those of the common timeline.

    Rolling shutter: a frame's time is that of its middle row.
    """

    def __init__(self, source: VideoSource, time_map: TimeMap) -> None:
        self.camera_id = source.camera_id
        self._source = source
        self._map = time_map
        self._middle_row = 0.0

    def open(self) -> None:
        """Open the source."""
        self._source.open()
        self._middle_row = (self._source.get_metadata().height - 1) / 2

    def get_metadata(self) -> VideoMetadata:
        """The source's metadata with its extent on the common timeline."""
        own = self._source.get_metadata()
        start_ns = self._to_common(own.start_ns)
        if own.duration_ns is None:
            return replace(own, start_ns=start_ns)
        end_ns = self._to_common(own.start_ns + own.duration_ns)
        return replace(own, start_ns=start_ns, duration_ns=end_ns - start_ns)

    def frame_at(self, time_ns: int) -> Frame:
        """The frame nearest to an instant of the common timeline."""
        return self._aligned(self._source.frame_at(self._to_own(time_ns)))

    def frames(self, start_ns: int | None = None, end_ns: int | None = None) -> Iterator[Frame]:
        """Every frame of ``start_ns <= time < end_ns`` on the common timeline."""
        start = None if start_ns is None else self._to_own(start_ns)
        end = None if end_ns is None else self._to_own(end_ns)
        return map(self._aligned, self._source.frames(start, end))

    def read_frame(self) -> Frame | None:
        """The next frame, or None at the end."""
        frame = self._source.read_frame()
        return None if frame is None else self._aligned(frame)

    def seek(self, time_ns: int) -> None:
        """Continue with the first frame at or after an instant of the common timeline."""
        self._source.seek(self._to_own(time_ns))

    def release(self) -> None:
        """Release the source."""
        self._source.release()

    def __enter__(self) -> Self:
        self.open()
        return self

    def _to_common(self, source_ns: int) -> int:
        return self._map.at(source_ns, self._middle_row)

    def _to_own(self, time_ns: int) -> int:
        return self._map.source_time(time_ns, self._middle_row)

    def _aligned(self, frame: Frame) -> Frame:
        return replace(
            frame,
            time_ns=self._to_common(frame.time_ns),
            uncertainty_ns=round(
                hypot(frame.uncertainty_ns, self._map.sigma_ns(frame.time_ns, self._middle_row))
            ),
            source_time_ns=frame.time_ns,
        )
