"""The truth about a recorded session, read from its pixels, beside what its frames claim."""

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from capture_protocol import SessionFolder, optical_clock
from capture_protocol.frame import FrameFlag
from control_server.session.record_times import midpoints_ns
from control_server.session.segment_scan import scan_segment, time_ns

Ns = npt.NDArray[np.int64]
US = 1000.0


@dataclass(frozen=True)
class CameraTruth:
    """One camera's frames, in order of their slots."""

    slots: Ns
    true_ns: Ns
    """Exposure midpoint that the optical clock shows: the kernel's UTC."""
    claimed_ns: Ns
    """Exposure midpoint by the frame record."""
    bound_ns: Ns
    """Claimed uncertainty (99 %)."""
    clock_bound_ns: Ns
    """The clock's part of it."""
    flags: Ns

    @property
    def error_ns(self) -> Ns:
        return self.true_ns - self.claimed_ns

    @property
    def covered(self) -> float:
        """Share of frames whose true error is within their own claim."""
        return float(np.mean(np.abs(self.error_ns) <= self.bound_ns))

    def flagged(self, flag: FrameFlag) -> npt.NDArray[np.bool_]:
        return (self.flags & flag) != 0

    def after(self, slot: int) -> "CameraTruth":
        """Its frames from a slot on."""
        later = self.slots >= slot
        return CameraTruth(**{name: column[later] for name, column in vars(self).items()})


def read_truth(folder: SessionFolder, camera: str) -> CameraTruth:
    """Decode all video of a camera and read the middle band of every picture."""
    columns = [_read_segment(path) for path in folder.segments(camera)]
    names = ("slots", "true_ns", "claimed_ns", "bound_ns", "clock_bound_ns", "flags")
    joined = [np.concatenate(parts) for parts in zip(*columns, strict=True)]
    _, first = np.unique(joined[0], return_index=True)  # frames that were sent again count once
    joined = [column[first] for column in joined]
    return CameraTruth(**dict(zip(names, joined, strict=True)))


def true_skew_ns(cameras: list[CameraTruth]) -> Ns:
    """Latest minus earliest true midpoint, over the slots that every camera has."""
    return _skew(cameras, [camera.true_ns for camera in cameras])


def claimed_skew_ns(cameras: list[CameraTruth]) -> Ns:
    """The same by the claims: what an audit can say without the pixels."""
    return _skew(cameras, [camera.claimed_ns for camera in cameras])


def _skew(cameras: list[CameraTruth], times_ns: list[Ns]) -> Ns:
    common = cameras[0].slots
    for camera in cameras[1:]:
        common = np.intersect1d(common, camera.slots)
    rows = [
        times[np.searchsorted(camera.slots, common)]
        for camera, times in zip(cameras, times_ns, strict=True)
    ]
    return np.ptp(np.stack(rows), axis=0)


def spread_us(values_ns: Ns) -> str:
    p50, p99 = np.percentile(np.abs(values_ns), (50, 99)) / US
    return f"p50 {p50:.1f}  p99 {p99:.1f}  max {np.abs(values_ns).max() / US:.1f} µs"


def _read_segment(path: Path) -> tuple[Ns, ...]:
    scan = scan_segment(path)
    shown_ns = _middle_bands(path)
    kept = np.array([int(at) in shown_ns for at in scan.container_ns])
    records = scan.records[kept]
    shown = np.array([shown_ns[int(at)] for at in scan.container_ns[kept]], np.int64)
    clock_bound_ns = records["clock_uncertainty_ns"].astype(np.int64)
    return (
        records["slot"].astype(np.int64),
        shown,
        midpoints_ns(records),
        clock_bound_ns + records["stamp_uncertainty_ns"],
        clock_bound_ns,
        records["flags"].astype(np.int64),
    )


def _middle_bands(path: Path) -> dict[int, int]:
    """Instant shown by the middle band, by container time; unreadable ones are left out."""
    shown_ns: dict[int, int] = {}
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            plane = frame.planes[0]
            luma = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
            middle = optical_clock.read(luma[: frame.height, : frame.width])[1]
            if middle.instant_ns is not None:
                shown_ns[time_ns(frame)] = middle.instant_ns
    return shown_ns
