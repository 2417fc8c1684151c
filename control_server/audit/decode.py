"""One segment under the deepest look: every packet read, every picture decoded and read.

Runs in a process of its own, so it gets a path and returns plain arrays.
"""

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.video.frame import VideoFrame

from capture_protocol import optical_clock
from control_server.session.record_times import row_midpoints_ns
from control_server.session.segment_scan import SegmentScan, scan_segment, time_ns

Luma = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class SegmentLook:
    """What one segment holds, by its packets and by its pictures."""

    scan: SegmentScan
    decoded: int
    """Pictures that the decoder gave out whole."""
    problem: str
    """Why decoding stopped early, empty if it did not."""
    optical_error_ns: npt.NDArray[np.int64]
    """Shown minus claimed instant of every readable band."""
    optical_bound_ns: npt.NDArray[np.int64]
    """The claimed uncertainty of each of these."""
    unreadable: int
    """Bands that showed no instant."""


def look_at_segment(path: Path) -> SegmentLook:
    """Scan and decode a segment file.

    Raises:
        InputError: there is no such file.
    """
    scan = scan_segment(path)
    pictures = _Pictures(scan)
    problem = ""
    try:
        with av.open(path, metadata_errors="replace") as container:
            pictures.decode(container)
    except av.FFmpegError as error:
        problem = error.strerror or "cannot be decoded"
    return pictures.look(problem)


class _Pictures:
    """Decodes the pictures of a segment and compares their optical clocks with the claims."""

    def __init__(self, scan: SegmentScan) -> None:
        self._scan = scan
        self._row_of_time = {int(at): row for row, at in enumerate(scan.container_ns)}
        self._decoded = 0
        self._unreadable = 0
        self._height = 1
        self._shown: list[tuple[int, int, int]] = []

    def decode(self, container: InputContainer) -> None:
        if self._scan.codec is None:
            return
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1  # the processes share the cores already
        for packet in container.demux(stream):
            if not packet.is_corrupt:  # the torn end of a receiver that was killed
                for frame in packet.decode():
                    self._take(frame)

    def _take(self, frame: VideoFrame) -> None:
        if frame.is_corrupt:
            return
        self._decoded += 1
        row = self._row_of_time.get(time_ns(frame))
        if row is not None:
            self._read_clock(row, frame)

    def _read_clock(self, row: int, frame: VideoFrame) -> None:
        for band in optical_clock.read(_luma(frame)):
            if band.instant_ns is None:
                self._unreadable += 1
            else:
                self._height = frame.height
                self._shown.append((row, band.row, band.instant_ns))

    def look(self, problem: str) -> SegmentLook:
        """All that was found."""
        rows, picture_rows, shown_ns = np.array(self._shown, np.uint64).reshape(-1, 3).T
        records = self._scan.records[rows.astype(np.intp)]
        claimed_ns = row_midpoints_ns(records, picture_rows.astype(np.int64), self._height)
        bound_ns = records["clock_uncertainty_ns"].astype(np.int64)
        return SegmentLook(
            self._scan,
            self._decoded,
            problem,
            shown_ns.astype(np.int64) - claimed_ns,
            bound_ns + records["stamp_uncertainty_ns"],
            self._unreadable,
        )


def _luma(frame: VideoFrame) -> Luma:
    plane = frame.planes[0]
    lines: Luma = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    return lines[: frame.height, : frame.width]
