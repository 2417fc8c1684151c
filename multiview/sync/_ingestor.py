"""Several cameras read as one."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Self

from multiview._released import Released
from multiview.errors import SourceClosedError, SourceError, SyncConfigError
from multiview.sources import NS_PER_S, Frame, VideoMetadata, VideoSource
from multiview.sync._config import Strategy, VideoSourceConfig
from multiview.sync._frameset import FrameSet, is_frame_batch_valid
from multiview.sync._instants import covered_span, instants, target_rate
from multiview.sync._interpolate import blend
from multiview.sync._synchronizer import (
    DEFAULT_TOLERANCE_S,
    LONGEST_GAP_PERIODS,
    VideoSynchronizer,
    is_bridgeable,
)

logger = logging.getLogger(__name__)

MAX_BATCH_BYTES = 2 * 2**30
"""A batch keeps all its pictures; beyond this, read frame sets one after the other."""


class VideoIngestor(Released):
    """Several cameras on one timeline: synchronized frames at an instant, or one set after another.

    ::

        sources = [VideoSourceConfig("a.mp4", "a"), VideoSourceConfig("b.mp4", "b")]
        with VideoIngestor(sources) as cameras:
            for frame_set in cameras.frame_sets(10.0, 15.0):
                print(frame_set.time_ns, frame_set.skew_ns, frame_set.valid.keys())

    Args:
        sources: one configuration per camera, at least ``min_cameras``.
        buffer_window: seconds of decoded pictures that each source may keep (bounded in bytes too).
        sync_tolerance: seconds that a frame may differ from the instant.
        target_rate: "lowest" or "highest" of the cameras' rates, or a rate in Hz.
        strategy: what to do where a camera has no frame.
        min_cameras: cameras with a usable frame without which a set is left out.
        reference: camera whose frames are the instants, in place of a regular grid.
    """

    def __init__(
        self,
        sources: Sequence[VideoSourceConfig],
        *,
        buffer_window: float = 5.0,
        sync_tolerance: float = DEFAULT_TOLERANCE_S,
        target_rate: str | float | Fraction = "lowest",
        strategy: Strategy | str = Strategy.PARTIAL,
        min_cameras: int = 2,
        reference: str | None = None,
    ) -> None:
        _check_configs(sources, min_cameras, reference)
        if not buffer_window > 0:
            raise SyncConfigError(f"a buffer window of {buffer_window} s is not usable")
        self.configs = tuple(sources)
        self.synchronizer = VideoSynchronizer(sync_tolerance)
        self.strategy = _strategy(strategy)
        self.min_cameras = len(sources) if self.strategy is Strategy.SKIP else min_cameras
        self.reference = reference
        self._wanted_rate = target_rate
        self._buffer_window_s = buffer_window
        self.sources: dict[str, VideoSource] = {}
        self._extents: dict[str, VideoMetadata] = {}

    def load_sources(self) -> None:
        """Open all sources; if one cannot be opened, none stays open.

        Raises:
            SourceOpenError: a source is not there or not readable.
            SyncConfigError: the sources have no instant in common.
        """
        self.release()
        try:
            threads = max(1, (os.cpu_count() or 1) // len(self.configs))
            for config in self.configs:
                source = config.aligned_source(
                    window_s=self._buffer_window_s, decoder_threads=threads
                )
                source.open()
                self.sources[config.camera_id] = source
                self._extents[config.camera_id] = source.get_metadata()
            if all(extent.duration_ns is not None for extent in self._extents.values()):
                covered_span([*self._extents.values()])
            self.rate = target_rate(self._wanted_rate, [*self._extents.values()])
        except BaseException:
            self.release()
            raise

    def get_metadata(self) -> dict[str, VideoMetadata]:
        """What is known of each camera, with extents on the common timeline."""
        self._check_loaded()
        return dict(self._extents)

    def get_frame_at_time(self, timestamp: float) -> dict[str, Frame]:
        """Each camera's frame for ``timestamp`` in seconds; for UTC prefer ``frame_set_at``."""
        return dict(self.frame_set_at(round(timestamp * NS_PER_S)).frames)

    def get_frame_batch(self, start_time: float, end_time: float) -> list[dict[str, Frame]]:
        """All synchronized sets of ``start_time <= t < end_time`` (seconds), kept in memory.

        Raises:
            SyncConfigError: the batch would not fit; use ``frame_sets``, which is lazy.
        """
        self._check_batch(end_time - start_time)
        return [dict(found.frames) for found in self.frame_sets(start_time, end_time)]

    def frame_sets(
        self, start_time: float | None = None, end_time: float | None = None
    ) -> Iterator[FrameSet]:
        """Synchronized sets one after the other, lazily; start and end in seconds.

        Sets with fewer than ``min_cameras`` usable frames are left out.
        """
        self._check_loaded()
        start_ns = None if start_time is None else round(start_time * NS_PER_S)
        end_ns = None if end_time is None else round(end_time * NS_PER_S)
        for time_ns in self._instants(start_ns, end_ns):
            found = self.frame_set_at(time_ns)
            if is_frame_batch_valid(found.frames, self.min_cameras):
                yield found

    def frame_set_at(self, time_ns: int) -> FrameSet:
        """Each camera's frame for an instant, marked where it is not usable."""
        self._check_loaded()
        return FrameSet(time_ns, {camera: self._frame(camera, time_ns) for camera in self.sources})

    def release(self) -> None:
        """Close all sources."""
        for source in self.sources.values():
            source.release()
        self.sources.clear()
        self._extents.clear()

    def __enter__(self) -> Self:
        self.load_sources()
        return self

    def _instants(self, start_ns: int | None, end_ns: int | None) -> Iterator[int]:
        if start_ns is None or end_ns is None:
            first, last = covered_span([*self._extents.values()])
            start_ns = first if start_ns is None else start_ns
            end_ns = last if end_ns is None else end_ns
        if self.reference is None:
            return instants(start_ns, end_ns, self.rate)
        frames = self.sources[self.reference].frames(start_ns, end_ns)
        return (frame.time_ns for frame in frames)

    def _frame(self, camera: str, time_ns: int) -> Frame:
        choose: Callable[[str, int], Frame] = self._nearest
        if self.strategy is Strategy.INTERPOLATE:
            choose = self._nearest_or_mixed
        try:
            return choose(camera, time_ns)
        except SourceError as error:
            logger.warning("no frame from %s at %d ns: %s", camera, time_ns, error)
            return Frame.missing(camera, time_ns, str(error))

    def _nearest(self, camera: str, time_ns: int) -> Frame:
        return self.synchronizer.judge(self.sources[camera].frame_at(time_ns), time_ns)

    def _nearest_or_mixed(self, camera: str, time_ns: int) -> Frame:
        """The camera's frame if it is near for the target rate, else a mixture across the gap."""
        source, period_ns = self.sources[camera], NS_PER_S / self._extents[camera].fps
        nearest = source.frame_at(time_ns)
        if nearest.is_valid and abs(nearest.time_ns - time_ns) <= NS_PER_S / self.rate / 2:
            return self.synchronizer.judge(nearest, time_ns)
        reach_ns = round(LONGEST_GAP_PERIODS * period_ns)
        before = [f for f in source.frames(time_ns - reach_ns, time_ns) if f.is_valid]
        after = next((f for f in source.frames(time_ns, time_ns + reach_ns) if f.is_valid), None)
        if before and after and is_bridgeable(before[-1], after, period_ns):
            return blend(before[-1], after, time_ns)
        return self.synchronizer.judge(nearest, time_ns)

    def _check_loaded(self) -> None:
        if not self.sources:
            raise SourceClosedError("no sources are open: call load_sources() first")

    def _check_batch(self, duration_s: float) -> None:
        self._check_loaded()
        if duration_s < 0:
            raise SyncConfigError(f"a batch of {duration_s} s ends before it starts")
        pixels = sum(extent.width * extent.height for extent in self._extents.values())
        size = duration_s * float(self.rate) * pixels * 3 // 2
        if size > MAX_BATCH_BYTES:
            raise SyncConfigError(
                f"a batch of {duration_s:g} s needs about {size / 2**30:.1f} GiB",
                hint="Iterate over frame_sets(start, end): it keeps one set at a time.",
            )


def _check_configs(
    sources: Sequence[VideoSourceConfig], min_cameras: int, reference: str | None
) -> None:
    cameras = [config.camera_id for config in sources]
    if not cameras:
        raise SyncConfigError("Sources list cannot be empty")
    if min_cameras < 1:
        raise SyncConfigError(f"min_cameras of {min_cameras}: at least one is needed")
    if len(cameras) < min_cameras:
        raise SyncConfigError(
            f"At least {min_cameras} cameras required, {len(cameras)} given",
            hint="Set min_cameras=1 to read fewer.",
        )
    twice = sorted({camera for camera in cameras if cameras.count(camera) > 1})
    if twice:
        raise SyncConfigError(f"camera_id used more than once: {', '.join(twice)}")
    if reference is not None and reference not in cameras:
        raise SyncConfigError(f"reference {reference!r} is none of {', '.join(cameras)}")


def _strategy(name: Strategy | str) -> Strategy:
    try:
        return Strategy(name)
    except ValueError as error:
        known = ", ".join(Strategy)
        raise SyncConfigError(f"strategy {name!r} is none of {known}") from error
