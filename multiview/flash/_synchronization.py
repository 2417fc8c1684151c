"""The interface to flash synchronisation: videos in, one timeline or a refusal out."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multiview.audio import Sound, combine, synchronize_audio
from multiview.flash._cache import default_cache_dir
from multiview.flash._edges import Kind
from multiview.flash._errors import FlashInputError
from multiview.flash._features import RowFeatures
from multiview.flash._footage import CameraProgress, Footage, read_footage
from multiview.flash._matching import Window
from multiview.flash._solve import MAX_DRIFT, solve
from multiview.flash._sources import (
    SynchronizedImageSource,
    frame_instants,
    laid_on,
    regular_instants,
)
from multiview.flash._track import FlashTrack
from multiview.flash._verdict import MAX_BOUND_NS, CameraVerdict, describe, judge, verdicts_of
from multiview.sources import NumberedSource, Times
from multiview.timeline import Timeline, TimelineSet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Camera = Hashable

NS_PER_MS = 1e6
HINT_WINDOW_NS = 1e9  # a hand-set offset is trusted to a second


class FlashVideoSynchronization:
    """Synchronise videos by the photographic flashes that they show, to a fraction of a frame.

    A camera is named by anything hashable whose text is unique. Times of the classic interface
    (``events``, ``offsets``, ``get_time``) are milliseconds; ``timelines`` has integer ns::

        sync = FlashVideoSynchronization()
        sync.detect_flash_events({1: "cam1.mp4", 2: "cam2.mp4"})
        sync.synchronize()
        print(sync)
        sync.get_time(cam=2, frame_time=1234.5, row=100)

    Method after M. Šmíd and J. Matas, "Rolling Shutter Camera Synchronization with
    Sub-millisecond Accuracy", VISAPP 2017; matching, exposure, bounds and refusals are this
    library's own.
    """

    def __init__(self, cache_dir: Path | str | None = None, *, use_cache: bool = True) -> None:
        folder = Path(cache_dir) if cache_dir is not None else default_cache_dir()
        self._cache_dir = folder if use_cache else None
        self._footage: dict[str, Footage] = {}
        self._timelines: TimelineSet | None = None

    def detect_flash_events(
        self,
        filenames: Mapping[Any, str | Path],
        progress: CameraProgress = lambda _camera, _fraction: None,
    ) -> None:
        """Decode the videos (or recall them), several at a time, and find their flashes.

        ``progress`` gets a camera's name and a fraction of 1, from the threads that decode.
        Raises SourceError if a video cannot be read, FlashInputError if it is too short.
        """
        paths = {str(camera): Path(path) for camera, path in filenames.items()}
        self._footage = read_footage(paths, self._cache_dir, progress)
        self._timelines = None

    def add_features(self, cam: Camera, features: RowFeatures) -> None:
        """Take row features that were computed elsewhere in place of a video."""
        self._footage[str(cam)] = Footage.of(features)
        self._timelines = None

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras, in the order given."""
        return tuple(self._footage)

    @property
    def tracks(self) -> Mapping[str, FlashTrack]:
        """What each video alone tells of its flashes."""
        return {name: footage.track for name, footage in self._footage.items()}

    @property
    def events(self) -> dict[Any, list[dict[str, Any]]]:
        """Per camera its flashes: ``frame_time`` and rough ``time`` in ms, frame, edge rows."""
        return {
            name: [
                {
                    "frame": event.frame,
                    "frame_time": event.frame_time_ns / NS_PER_MS,
                    "time": event.time_ns / NS_PER_MS,
                    "lead_rows": [e.row for e in event.edges if e.kind is Kind.LEAD],
                    "trail_rows": [e.row for e in event.edges if e.kind is Kind.TRAIL],
                    "gain": event.level,
                }
                for event in footage.track.events
            ]
            for name, footage in self._footage.items()
        }

    def show_events(self, offsets: Mapping[Any, float] | None = None) -> Figure:
        """Draw the flashes over time, one line per camera; aligned once synchronised.

        ``offsets`` (ms per camera) are subtracted from the cameras' times.
        """
        from multiview.flash._chart import draw_events

        return draw_events(self.tracks, self._timelines, _by_text(offsets or {}))

    def synchronize(
        self,
        cameras: Sequence[Any] | None = None,
        offsets: Mapping[Any, float] | None = None,
        base_cam: Any = None,
        *,
        max_drift: float = MAX_DRIFT,
        max_bound_ms: float = MAX_BOUND_NS / NS_PER_MS,
    ) -> TimelineSet:
        """Find the cameras' clocks and shutters on the base camera's clock.

        ``offsets`` are not needed. Where given (ms per camera, such as the ``frame_time`` of one
        flash in each), only alignments within a second of them are considered.

        Raises FlashSyncError with the reason if there is no sure answer.
        """
        names = self.cameras if cameras is None else tuple(str(camera) for camera in cameras)
        base = names[0] if base_cam is None and names else str(base_cam)
        self._check_names(names, base)
        windows = _windows(_by_text(offsets or {}), base)
        tracks = {name: self._footage[name].track for name in names}
        self._timelines = judge(solve(tracks, base, windows, max_drift), max_bound_ms * NS_PER_MS)
        return self._timelines

    def synchronize_with_audio(
        self,
        sounds: Mapping[str, Sound],
        base_cam: Any = None,
        *,
        max_bound_ms: float = MAX_BOUND_NS / NS_PER_MS,
    ) -> TimelineSet:
        """Synchronise by flashes and sound together.

        The sound says roughly where to look, so that few or evenly spaced flashes suffice, and
        sharpens the drift; the flashes decide to the row. ``sounds`` come from ``read_sounds``.

        Raises AudioSyncError if the sound tells nothing or contradicts the flashes, and what
        ``synchronize`` raises.
        """
        base = self.cameras[0] if base_cam is None else str(base_cam)
        heard = synchronize_audio(sounds, base)
        middle = self._footage[base].track.end_ns // 2
        offsets = {
            name: (line.source_time(middle) - middle) / NS_PER_MS for name, line in heard.items()
        }
        found = self.synchronize(offsets=offsets, base_cam=base, max_bound_ms=max_bound_ms)
        self._timelines = combine(found, heard)
        return self._timelines

    def _check_names(self, names: Sequence[str], base: str) -> None:
        if len(names) < 2:
            raise FlashInputError("at least two videos are needed")
        unknown = [name for name in (*names, base) if name not in self._footage]
        if unknown or base not in names:
            raise FlashInputError(
                f"no such camera: {', '.join(unknown) or base}",
                hint=f"known are {', '.join(self.cameras)}",
            )

    @property
    def timelines(self) -> TimelineSet:
        """The model: a timeline per camera, on the base camera's clock; writes JSON and YAML."""
        if self._timelines is None:
            raise FlashInputError("not synchronised yet", hint="call synchronize() first")
        return self._timelines

    @timelines.setter
    def timelines(self, lines: TimelineSet) -> None:
        self._timelines = lines

    @property
    def verdicts(self) -> Mapping[str, CameraVerdict]:
        """How well each camera is known."""
        return verdicts_of(self.timelines)

    def get_time(self, cam: Camera, frame_time: float, row: float = 0.0) -> float:
        """Return when a row was read out (ms, base camera's clock); ``frame_time`` in ms."""
        own_ns = round(frame_time * NS_PER_MS)
        return self._timeline(cam).at(own_ns, row) / NS_PER_MS

    def get_bound(
        self, cam: Camera, frame_time: float, row: float = 0.0, confidence: float = 0.99
    ) -> float:
        """Return the half width (ms) of the interval that holds the true ``get_time``."""
        line = self._timeline(cam)
        return line.bound_ns(round(frame_time * NS_PER_MS), row, confidence) / NS_PER_MS

    def _timeline(self, cam: Camera) -> Timeline:
        try:
            return self.timelines[str(cam)]
        except KeyError:
            raise FlashInputError(f"no such camera: {cam}") from None

    def get_synchronized_image_sources(
        self, sources: Mapping[Any, NumberedSource], master: Any = None, dropped: bool = False
    ) -> dict[Any, SynchronizedImageSource]:
        """Return sources whose frame ``n`` is the one nearest to the master camera's frame.

        Instants at which a camera has no frame are left out, or kept without a picture if
        ``dropped``. The sources stay their owner's to open and release.
        """
        lead = str(master) if master is not None else str(self.timelines.reference)
        shown_ns = {cam: self.frame_instants(cam) for cam in sources}
        return laid_on(sources, self.timelines, shown_ns, self.frame_instants(lead), dropped)

    def get_regular_image_sources(
        self, sources: Mapping[Any, NumberedSource], period_ns: float
    ) -> dict[Any, SynchronizedImageSource]:
        """Return sources at an even rate over the time that all of them filmed."""
        shown_ns = {cam: self.frame_instants(cam) for cam in sources}
        spans = [(int(times[0]), int(times[-1])) for times in shown_ns.values()]
        instants = regular_instants(spans, period_ns)
        return laid_on(sources, self.timelines, shown_ns, instants, dropped=True)

    def frame_instants(self, cam: Camera) -> Times:
        """Return when each frame's middle row was half exposed (ns, base camera's clock)."""
        line, footage = self._timeline(cam), self._footage[str(cam)]
        exposure_ns = self.verdicts[str(cam)].exposure_ms * NS_PER_MS
        return frame_instants(footage.times_ns, line, footage.track.height, exposure_ns)

    @property
    def paths(self) -> Mapping[str, Path]:
        """The video files, by camera."""
        return {name: f.path for name, f in self._footage.items() if f.path is not None}

    def __str__(self) -> str:
        if self._timelines is None:
            return f"{len(self._footage)} videos, not synchronised"
        return "\n".join(
            describe(name, verdict, is_base=name == self.timelines.reference)
            for name, verdict in self.verdicts.items()
        )


def _by_text(offsets: Mapping[Any, float]) -> dict[str, float]:
    return {str(camera): offset for camera, offset in offsets.items()}


def _windows(offsets: Mapping[str, float], base: str) -> dict[str, Window]:
    if base not in offsets:
        return {}
    return {
        name: Window((offset - offsets[base]) * NS_PER_MS, HINT_WINDOW_NS)
        for name, offset in offsets.items()
        if name != base
    }
