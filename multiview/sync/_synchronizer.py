"""Which frames belong to an instant: pure decisions about times, for frames from anywhere."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from multiview.errors import SyncConfigError
from multiview.sources import NS_PER_S, Frame

FrameLists: TypeAlias = Mapping[str, Sequence[Frame]]

DEFAULT_TOLERANCE_S = 0.033
"""One frame at 30 per second."""
LONGEST_GAP_PERIODS = 3
"""Gaps of this many periods or more are not bridged by interpolation: motion is not a line."""


@dataclass(frozen=True)
class SyncBuffer:
    """Frames of all cameras, sorted by time, for quick look-up."""

    frames: dict[str, list[Frame]]
    start_time: float
    """Seconds; when the last camera begins."""
    end_time: float
    """Seconds; when the first camera ends."""
    target_fps: float
    """Rate of the slowest camera, in Hz; 0 if no camera has two frames."""


class VideoSynchronizer:
    """Chooses each camera's frame for an instant, and says why there is none.

    ``sync_tolerance`` in seconds is the most a frame's time may differ from the instant.
    """

    def __init__(self, sync_tolerance: float = DEFAULT_TOLERANCE_S) -> None:
        if not 0 < sync_tolerance < 3600:
            raise SyncConfigError(f"a sync tolerance of {sync_tolerance} s is not usable")
        self.tolerance_ns = round(sync_tolerance * NS_PER_S)

    def synchronize_frames(self, frames: FrameLists, target_time: float) -> dict[str, Frame]:
        """Each camera's frame for ``target_time`` (seconds), from unsorted lists."""
        return self.get_closest_frames(self.build_sync_buffer(frames), target_time)

    def build_sync_buffer(self, frames: FrameLists) -> SyncBuffer:
        """Sort the frames and find the span that all cameras cover."""
        ordered = {
            camera: sorted(taken, key=lambda frame: frame.time_ns)
            for camera, taken in frames.items()
        }
        spans = [(taken[0].time_ns, taken[-1].time_ns) for taken in ordered.values() if taken]
        rates = [_rate(taken) for taken in ordered.values() if len(taken) > 1]
        return SyncBuffer(
            ordered,
            start_time=max((first for first, _ in spans), default=0) / NS_PER_S,
            end_time=min((last for _, last in spans), default=0) / NS_PER_S,
            target_fps=min(rates, default=0.0),
        )

    def get_closest_frames(self, buffer: SyncBuffer, timestamp: float) -> dict[str, Frame]:
        """Each camera's frame nearest to ``timestamp`` (seconds), judged by the tolerance."""
        target_ns = round(timestamp * NS_PER_S)
        return {
            camera: self.judge(_nearest(taken, target_ns), target_ns)
            if taken
            else Frame.missing(camera, target_ns, "the camera has no frames")
            for camera, taken in buffer.frames.items()
        }

    def judge(self, frame: Frame, target_ns: int) -> Frame:
        """The frame, marked as not valid if it is too far from the instant."""
        off_ns = frame.time_ns - target_ns
        if abs(off_ns) <= self.tolerance_ns:
            return frame
        side = "after" if off_ns > 0 else "before"
        return replace(
            frame,
            picture=None,
            reason=f"nearest frame is {abs(off_ns) / 1e6:.1f} ms {side} the instant "
            f"(tolerance {self.tolerance_ns / 1e6:.1f} ms)",
        )


def is_bridgeable(before: Frame, after: Frame, period_ns: float) -> bool:
    """Whether the gap between two usable frames is short enough to be interpolated."""
    gap_ns = after.time_ns - before.time_ns
    usable = before.is_valid and after.is_valid
    return usable and 0 < gap_ns < LONGEST_GAP_PERIODS * period_ns


def _nearest(taken: Sequence[Frame], target_ns: int) -> Frame:
    """Of two equally near, the earlier."""
    after = bisect_left(taken, target_ns, key=lambda frame: frame.time_ns)
    around = taken[max(0, after - 1) : after + 1]
    return min(around, key=lambda frame: abs(frame.time_ns - target_ns))


def _rate(taken: Sequence[Frame]) -> float:
    span_ns = taken[-1].time_ns - taken[0].time_ns
    return (len(taken) - 1) * NS_PER_S / span_ns if span_ns else 0.0
