"""Video files as a source: exact by packet, fast by window and read-ahead."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

import av

from multiview.errors import SourceClosedError, SourceOpenError
from multiview.sources._contract import Clock, Frame, Picture, VideoMetadata
from multiview.sources._decode import DecodeRun, decoded_order
from multiview.sources._describe import describe, tick_sigma_ns
from multiview.sources._index import FrameIndex, build_index, presentation_order
from multiview.sources._packets import PacketFile, assumed_rate
from multiview.sources._window import FrameWindow

WINDOW_BYTES = 128 * 2**20
"""Holds two to three groups of 30 pictures at 1280×720, so that near access needs no decoding."""
READ_AHEAD_BYTES = 32 * 2**20
READ_AHEAD_FRAMES = 8
SEEK_WORTH_FRAMES = 12
"""Decoding up to this many unwanted frames is cheaper than a seek that empties the decoder."""
SEQUENTIAL_READS = 2
"""After this many reads onwards the source expects more, and decodes ahead."""


class FileVideoSource:
    """Frames of a video file that FFmpeg can read (MP4, MOV, AVI, MKV, TS; H.264, H.265, ...).

    Frame times are the container's presentation times of the packets that are really there,
    as shown after edit lists. Where the container has none, frames are put into order by decoding
    once and their times are estimated; their ``metadata["estimated_time"]`` is then True.

    A source is used from one thread.

    Args:
        source_path: the file.
        camera_id: name of the camera, carried by every frame.
        window_s: seconds of decoded pictures to keep for near access (128 MiB at most).
        frame_times_ns: times of all frames in order of presentation, never decreasing, where
            something better than the container recorded them.
        clock: what ``frame_times_ns`` count from.
    """

    def __init__(
        self,
        source_path: str | Path,
        camera_id: str,
        *,
        window_s: float = 5.0,
        frame_times_ns: Sequence[int] | None = None,
        clock: Clock = Clock.OWN,
    ) -> None:
        self.camera_id = camera_id
        self.path = Path(source_path)
        self._window_s = window_s
        self._given_times = frame_times_ns
        self._clock = clock
        self._file: PacketFile | None = None
        self._index: FrameIndex
        self._metadata: VideoMetadata

    def open(self) -> None:
        """Open the file and index it; raises :class:`SourceOpenError` with the reason."""
        self.release()
        file = PacketFile(self.path)
        try:
            index, findings = _index_file(file)
            self._index = (
                index if self._given_times is None else index.with_times(self._given_times)
            )
            self._metadata = replace(
                describe(file, self._index, self.camera_id, findings), clock=self._clock
            )
        except BaseException:
            file.close()
            raise
        self._file = file
        bytes_per_frame = max(1, self._metadata.width * self._metadata.height * 3 // 2)
        wanted = round(self._window_s * self._metadata.fps)
        self._window = FrameWindow(min(wanted, WINDOW_BYTES // bytes_per_frame))
        self._read_ahead = max(1, min(READ_AHEAD_FRAMES, READ_AHEAD_BYTES // bytes_per_frame))
        self._tick_sigma_ns = tick_sigma_ns(file.stream)
        self._run: DecodeRun | None = None
        self._in_sequence = 0
        self._next = 0

    @property
    def index(self) -> FrameIndex:
        """Times of all frames."""
        self._opened()
        return self._index

    def get_metadata(self) -> VideoMetadata:
        """Size, rate, extent and findings."""
        self._opened()
        return self._metadata

    def frame_at(self, time_ns: int) -> Frame:
        """The frame whose time is nearest."""
        self._opened()
        return self.frame_by_number(self._index.nearest(time_ns))

    def frame_by_number(self, number: int) -> Frame:
        """Frame ``number`` in order of presentation; raises IndexError outside the file."""
        file = self._opened()
        if not 0 <= number < len(self._index):
            raise IndexError(f"frame {number} of {self.camera_id}: there are {len(self._index)}")
        picture = self._window.get(number)
        return self._frame(number, picture or self._decode(file, number))

    def frames(self, start_ns: int | None = None, end_ns: int | None = None) -> Iterator[Frame]:
        """Every frame with ``start_ns <= time < end_ns``, lazily and in order."""
        self._opened()
        first = 0 if start_ns is None else self._index.first_from(start_ns)
        end = len(self._index) if end_ns is None else self._index.first_from(end_ns)
        return (self.frame_by_number(number) for number in range(first, end))

    def read_frame(self) -> Frame | None:
        """The next frame, or None at the end."""
        self._opened()
        if self._next >= len(self._index):
            return None
        self._next += 1
        return self.frame_by_number(self._next - 1)

    def seek(self, time_ns: int) -> None:
        """Let ``read_frame`` continue with the first frame at or after this time."""
        self._opened()
        self._next = self._index.first_from(time_ns)

    def release(self) -> None:
        """Close the file and drop the window."""
        if self._file is None:
            return
        self._stop_run()
        self._window.clear()
        self._file.close()
        self._file = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def _opened(self) -> PacketFile:
        if self._file is None:
            raise SourceClosedError(f"{self.camera_id} ({self.path}) is not open", hint="open() it")
        return self._file

    def _frame(self, number: int, decoded: av.VideoFrame | None) -> Frame:
        time_ns, estimated = int(self._index.times_ns[number]), bool(self._index.estimated[number])
        return Frame(
            self.camera_id,
            time_ns,
            number,
            picture=None if decoded is None else Picture(decoded),
            uncertainty_ns=self._index.period_ns if estimated else self._tick_sigma_ns,
            source_time_ns=time_ns,
            reason=_reason(decoded),
            metadata=_ESTIMATED if estimated else _AS_STORED,
        )

    def _decode(self, file: PacketFile, number: int) -> av.VideoFrame | None:
        """Decode up to this frame, keeping what comes before it in the window."""
        run = self._run_towards(file, number)
        for found, picture in run:
            self._window.put(found, picture)
            if found >= number:
                break
        return self._window.get(number)

    def _run_towards(self, file: PacketFile, number: int) -> DecodeRun:
        """The present run if it reaches the frame soon, else a new one."""
        run = self._run
        if run is not None and self._is_ahead(run.next_number, number):
            self._in_sequence += 1
            if self._in_sequence >= SEQUENTIAL_READS:
                run.read_ahead(self._read_ahead)
            return run
        self._stop_run()
        self._in_sequence = 0
        self._run = DecodeRun(file, self._index, number)
        return self._run

    def _is_ahead(self, position: int, number: int) -> bool:
        entry = int(self._index.frame_of_packet[self._index.entry_of_frame[number]])
        return position <= number and entry - position <= SEEK_WORTH_FRAMES

    def _stop_run(self) -> None:
        if self._run is not None:
            self._run.close()
            self._run = None


def _reason(decoded: av.VideoFrame | None) -> str:
    if decoded is None:
        return "cannot be decoded"
    return "damaged in the file" if decoded.is_corrupt else ""


_AS_STORED = MappingProxyType({"estimated_time": False})
_ESTIMATED = MappingProxyType({"estimated_time": True})


def _index_file(file: PacketFile) -> tuple[FrameIndex, tuple[str, ...]]:
    """The index, and what was found on the way."""
    findings = file.scan()
    order = presentation_order(file.rows)
    if order is None:
        order = decoded_order(file)
    rate = assumed_rate(file.stream)
    index = build_index(file.rows, order, file.stream.time_base or 1 / rate, 1 / rate)
    if not len(index):
        raise SourceOpenError(f"{file.path} holds no video frames", hint="; ".join(findings))
    return index, findings
