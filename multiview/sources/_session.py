"""One camera of a recorded session, across its segments and parts, timed by its evidence."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from capture_protocol import FrameRecord, Manifest, SessionFolder
from capture_protocol.errors import InputError
from multiview.errors import SourceClosedError, SourceError, SourceOpenError, SourceStalledError
from multiview.sources._contract import NS_PER_S, Clock, Frame, VideoMetadata
from multiview.sources._file import FileVideoSource
from multiview.sources._index import typical_period_ns
from multiview.sources._numbered import NumberedSource, Times

OPEN_SEGMENTS = 2
"""Reading to and fro across a cut needs both of its files, and no more."""


class _Place(NamedTuple):
    """Where a frame lies: its segment, its number there, its evidence."""

    segment: Path
    number: int
    record: FrameRecord


@dataclass(frozen=True)
class _Recording:
    """What the segments of one camera hold, each slot once, in order of time."""

    places: tuple[_Place, ...]
    times_ns: Times
    metadata: VideoMetadata


class SessionVideoSource(NumberedSource):
    """A camera of a session recorded by this project, sealed or not.

    Frame times are the exposure midpoints that the recorded streams carry, in UTC of the rig's
    clock; ``metadata["record"]`` is a frame's whole evidence and ``metadata["slot"]`` its slot.
    Slots that a break made the agent send twice count once.
    """

    def __init__(
        self,
        session: str | Path,
        camera_id: str,
        *,
        window_s: float = 5.0,
        decoder_threads: int | None = None,
    ) -> None:
        self.camera_id = camera_id
        self.folder = SessionFolder(Path(session))
        self._window_s = window_s
        self._decoder_threads = decoder_threads
        self._recording: _Recording | None = None
        self._segments: OrderedDict[Path, FileVideoSource] = OrderedDict()

    def open(self) -> None:
        """Read the evidence of all segments.

        Raises:
            SourceOpenError: no session, no such camera, or no frame of it.
            SourceStalledError: its disk gives nothing.
        """
        self.release()
        try:
            self.folder.read_plan().camera(self.camera_id)
            manifest = self.folder.read_manifest()
        except InputError as error:
            raise SourceOpenError(str(error), hint=error.hint) from error
        self._recording = _read(self.folder, self.camera_id, manifest)
        self._next = 0

    @property
    def times_ns(self) -> Times:
        """Exposure midpoints of all frames in order."""
        return self._opened().times_ns

    @property
    def records(self) -> tuple[FrameRecord, ...]:
        """The evidence of all frames in order."""
        return tuple(place.record for place in self._opened().places)

    def get_metadata(self) -> VideoMetadata:
        """Size, rate, extent and findings."""
        return self._opened().metadata

    def frame_by_number(self, number: int) -> Frame:
        """Frame ``number`` in order of time."""
        self._check_number(number)
        place = self._opened().places[number]
        return replace(
            self._segment(place.segment).frame_by_number(place.number), frame_number=number
        )

    def release(self) -> None:
        """Close the segments."""
        for segment in self._segments.values():
            segment.release()
        self._segments.clear()
        self._recording = None

    def _opened(self) -> _Recording:
        if self._recording is None:
            raise SourceClosedError(f"{self.camera_id} of {self.folder.path} is not open")
        return self._recording

    def _segment(self, path: Path) -> FileVideoSource:
        segment = self._segments.get(path)
        if segment is None:
            segment = self._segments[path] = FileVideoSource(
                path,
                self.camera_id,
                window_s=self._window_s,
                decoder_threads=self._decoder_threads,
            )
            segment.open()
        self._segments.move_to_end(path)
        if len(self._segments) > OPEN_SEGMENTS:
            self._segments.popitem(last=False)[1].release()
        return segment


def session_cameras(session: str | Path) -> list[str]:
    """Names of the cameras of a session; raises SourceOpenError if there is no session."""
    try:
        return [camera.name for camera in SessionFolder(Path(session)).read_plan().cameras]
    except InputError as error:
        raise SourceOpenError(str(error), hint=error.hint) from error


def _read(folder: SessionFolder, camera: str, manifest: Manifest | None) -> _Recording:
    notes, metadata, slots, twice = [], [], dict[int, _Place](), 0
    for path in folder.segments(camera):
        try:
            with FileVideoSource(path, camera) as segment:
                metadata.append(segment.get_metadata())
                records = segment.records
        except SourceStalledError:
            raise
        except SourceError as error:
            notes.append(f"{path.name} left out: {error}")
            continue
        if None in records or not records:
            notes.append(f"{path.name}: frames without evidence are left out")
        found = [_Place(path, k, record) for k, record in enumerate(records) if record]
        twice += sum(place.record.slot in slots for place in found)
        for place in found:
            slots.setdefault(place.record.slot, place)
    if not slots:
        raise SourceOpenError(f"{folder.path} holds no frames of {camera}", hint="; ".join(notes))
    places = tuple(sorted(slots.values(), key=lambda p: (p.record.midpoint_ns, p.record.slot)))
    times = np.array([place.record.midpoint_ns for place in places], dtype=np.int64)
    losses = [*notes, *_losses(slots, manifest)]
    if twice:
        notes.append(f"{twice} frames were sent twice and count once")
    return _Recording(places, times, _describe(metadata[0], times, losses, notes))


def _losses(slots: Iterable[int], manifest: Manifest | None) -> list[str]:
    held = sorted(slots)
    missing = held[-1] - held[0] + 1 - len(held)
    losses = [f"{missing} slots between the first and the last frame are missing"] * bool(missing)
    if manifest is None:
        losses.append("the session is not sealed: more may come")
    elif not manifest.complete:
        losses.append(f"the session is not complete: {manifest.reason}")
    return losses


def _describe(
    first: VideoMetadata, times: Times, losses: list[str], notes: list[str]
) -> VideoMetadata:
    period_ns = typical_period_ns(times) or NS_PER_S / first.fps
    return replace(
        first,
        clock=Clock.UTC,
        fps=NS_PER_S / period_ns,
        total_frames=len(times),
        start_ns=int(times[0]),
        duration_ns=int(times[-1] - times[0]) + round(period_ns),
        complete=not losses,
        notes=tuple(dict.fromkeys([*losses, *notes])),
    )
