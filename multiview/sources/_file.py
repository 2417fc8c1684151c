"""Video files as a source: exact by packet, fast by window and read-ahead."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from math import inf
from pathlib import Path

import av

from capture_protocol import FrameRecord
from multiview.errors import SourceClosedError, SourceStalledError, SyncConfigError
from multiview.sources._contract import Clock, Frame, Picture, VideoMetadata
from multiview.sources._decode import DecodeRun
from multiview.sources._glance import Glances
from multiview.sources._index import FrameIndex
from multiview.sources._indexed import IndexedFile
from multiview.sources._numbered import NumberedSource, Times
from multiview.sources._packets import PacketFile
from multiview.sources._patience import Patience
from multiview.sources._prefetch import in_time
from multiview.sources._window import FrameWindow

WINDOW_BYTES = 64 * 2**20
"""Holds a group of 30 pictures at 1280×720 and some, so that near access needs no decoding; more
costs time, because the decoder then never works in memory that is still in a cache."""
STALL_TIMEOUT_S = 20.0
"""Long enough for a sleeping disk to spin up and for a network share to be found again."""
MAX_DECODER_THREADS = 4
"""Each thread more delays the first picture by one, and costs some of the work again."""
MOST_DECODER_THREADS = 64
"""More would hold more pictures than any window."""
READ_AHEAD_BYTES = 32 * 2**20
READ_AHEAD_FRAMES = 16
"""A key picture may take as long as ten others: with fewer, sources that are read in step wait for
each other's while cores are free."""
SEEK_WORTH_FRAMES = 12
"""Decoding up to this many unwanted frames is cheaper than a seek that empties the decoder."""
SEQUENTIAL_READS = 2
"""After this many reads onwards the source expects more, and decodes ahead."""


class FileVideoSource(NumberedSource):
    """Frames of a video file that FFmpeg can read (MP4, MOV, AVI, MKV, TS; H.264, H.265, ...).

    Frame times are the container's presentation times of the packets that are really there,
    as shown after edit lists. Where the container has none, frames are put into order by decoding
    once and their times are estimated; their ``metadata["estimated_time"]`` is then True.
    In files of the rig the exposure midpoint (UTC) that a frame carries is its time, and
    ``metadata["record"]`` is that evidence.

    A source is used from one thread.

    Args:
        source_path: the file.
        camera_id: name of the camera, carried by every frame.
        window_s: seconds of decoded pictures to keep for near access (64 MiB at most).
        frame_times_ns: times of all frames in order of presentation, never decreasing, where
            something better than the container recorded them.
        clock: what ``frame_times_ns`` count from.
        decoder_threads: cores that decode this file at a time; None for up to four. One costs
            the least when as many sources as cores are read together.
        hardware: decode on a hardware device if one opens, and in software if not, or if the
            device fails at a frame; False for software in any case.
        stall_timeout_s: seconds without any data after which a disk is taken for stalled.
    """

    def __init__(
        self,
        source_path: str | Path,
        camera_id: str,
        *,
        window_s: float = 5.0,
        frame_times_ns: Sequence[int] | None = None,
        clock: Clock = Clock.OWN,
        decoder_threads: int | None = None,
        hardware: bool = True,
        stall_timeout_s: float = STALL_TIMEOUT_S,
    ) -> None:
        _check_limits(window_s, decoder_threads, stall_timeout_s)
        self.camera_id = camera_id
        self.path = Path(source_path)
        self._patience = Patience(self.path, stall_timeout_s)
        self._window_s = window_s
        self._given_times = frame_times_ns
        self._clock = clock
        self._decoder_threads = decoder_threads or min(MAX_DECODER_THREADS, os.cpu_count() or 1)
        self._hardware = hardware
        self._indexed: IndexedFile | None = None
        self._index: FrameIndex
        self._metadata: VideoMetadata

    def open(self) -> None:
        """Open the file and index it.

        Raises:
            SourceOpenError: not there, not a video, or without frames.
            SourceStalledError: its disk gives nothing.
        """
        self.release()
        self._indexed = indexed = in_time(self._patience, self._read_index)
        self._index = indexed.index
        clock = Clock.UTC if indexed.records else self._clock
        self._metadata = indexed.describe(self.camera_id, clock)
        bytes_per_frame = max(1, self._metadata.width * self._metadata.height * 3 // 2)
        wanted = round(self._window_s * self._metadata.fps)
        self._window = FrameWindow(min(wanted, WINDOW_BYTES // bytes_per_frame))
        self._read_ahead = max(1, min(READ_AHEAD_FRAMES, READ_AHEAD_BYTES // bytes_per_frame))
        self._run: DecodeRun | None = None
        self._glances = Glances(indexed.file, indexed.index)
        self._lost: set[int] = set()
        self._reads_onwards = 0
        self._decoded = 0
        self._next = 0

    @property
    def times_ns(self) -> Times:
        """Times of all frames in order."""
        return self._opened().index.times_ns

    @property
    def records(self) -> tuple[FrameRecord | None, ...]:
        """The rig's in-stream evidence of all frames in order; empty for other files."""
        return self._opened().records

    def get_metadata(self) -> VideoMetadata:
        """Size, rate, extent and findings."""
        decoder = self._opened().file.decoder
        return replace(self._metadata, decoder=decoder)

    def frame_by_number(self, number: int) -> Frame:
        """Frame ``number`` in order of presentation; raises IndexError outside the file."""
        indexed = self._opened()
        self._check_number(number)
        picture = self._window.get(number)
        if picture is None:
            try:
                picture = self._decode(indexed.file, number)
            except SourceStalledError:
                self._leave_behind()
                raise
        return self._frame(number, picture)

    def release(self) -> None:
        """Close the file and drop the window."""
        if self._indexed is None:
            return
        file = self._indexed.file
        with suppress(SourceStalledError):
            self._stop_run()
            in_time(self._patience, file.close)
        self._leave_behind()

    def _opened(self) -> IndexedFile:
        if self._indexed is None:
            raise SourceClosedError(f"{self.camera_id} ({self.path}) is not open", hint="open() it")
        return self._indexed

    def _read_index(self) -> IndexedFile:
        return IndexedFile.read(
            self._patience,
            self._given_times,
            decoder_threads=self._decoder_threads,
            hardware=self._hardware,
        )

    def _leave_behind(self) -> None:
        """Close without touching the file: a thread that waits for it closes it at last."""
        self._window.clear()
        self._indexed = self._run = None

    def _frame(self, number: int, decoded: av.VideoFrame | None) -> Frame:
        time_ns = int(self._index.times_ns[number])
        return Frame(
            self.camera_id,
            time_ns,
            number,
            picture=None if decoded is None else Picture(decoded),
            uncertainty_ns=int(self._index.sigma_ns[number]),
            source_time_ns=time_ns,
            reason=_reason(decoded),
            metadata=self._opened().details(number),
        )

    def _decode(self, file: PacketFile, number: int) -> av.VideoFrame | None:
        """Decode the frame; one that a device cannot decode is tried again in software."""
        picture = self._decode_once(file, number)
        if picture is None and file.device is not None:
            self._stop_run()
            self._lost.clear()
            in_time(self._patience, file.leave_device)
            picture = self._decode_once(file, number)
        return picture

    def _decode_once(self, file: PacketFile, number: int) -> av.VideoFrame | None:
        """Decode up to this frame, keeping what comes before it in the window."""
        if number in self._lost:
            return None
        is_jump, self._decoded = self._is_jump(number), number
        if is_jump:
            self._stop_run()
            picture = in_time(self._patience, partial(self._glances.at, number))
            if picture is not None:
                self._window.put(number, picture)
                return picture
        run = self._run_towards(file, number)
        for found, picture in run:
            self._window.put(found, picture)
            if found >= number:
                break
        self._lost.update(range(number, run.next_number - 1))
        return self._window.get(number)

    def _is_jump(self, number: int) -> bool:
        """Whether the frame is far from the one decoded before: its neighbours can wait."""
        entries = self._index.entry_of_frame
        is_near = abs(number - self._decoded) <= SEEK_WORTH_FRAMES
        in_group = entries[number] == entries[self._decoded]
        return not (is_near or in_group)

    def _run_towards(self, file: PacketFile, number: int) -> DecodeRun:
        """The present run if it reaches the frame soon, else a new one."""
        run = self._run
        if run is not None and self._is_ahead(run.next_number, number):
            self._reads_onwards += 1
            if self._reads_onwards >= SEQUENTIAL_READS:
                run.read_ahead(self._read_ahead)
            return run
        self._stop_run()
        self._reads_onwards = 0
        self._run = DecodeRun(file, self._index, number, self._patience)
        return self._run

    def _is_ahead(self, position: int, number: int) -> bool:
        entry = int(self._index.frame_of_packet[self._index.entry_of_frame[number]])
        return position <= number and entry - position <= SEEK_WORTH_FRAMES

    def _stop_run(self) -> None:
        if self._run is not None:
            self._run.close()
            self._run = None


def _check_limits(window_s: float, decoder_threads: int | None, stall_timeout_s: float) -> None:
    if not 0 <= window_s < inf:
        raise SyncConfigError(f"a window of {window_s} s cannot be kept")
    if decoder_threads is not None and not 1 <= decoder_threads <= MOST_DECODER_THREADS:
        raise SyncConfigError(f"{decoder_threads} decoder threads: 1 to {MOST_DECODER_THREADS}")
    if not 0 < stall_timeout_s < inf:
        raise SyncConfigError(f"a stall limit of {stall_timeout_s} s is not usable")


def _reason(decoded: av.VideoFrame | None) -> str:
    if decoded is None:
        return "cannot be decoded"
    return "damaged in the file" if decoded.is_corrupt else ""
