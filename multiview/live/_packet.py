"""What a synchronised read gives: one frame per camera, as plain keys and values."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypedDict

import av
import numpy as np
from av.sidedata.sidedata import SideDataContainer
from numpy.typing import NDArray

from multiview.live._connection import LiveFrame
from multiview.live._matcher import spread_ns
from multiview.sources import NS_PER_S, Image
from multiview.sources._pixels import to_pixels

MotionVectors = NDArray[np.int64]

MOTION_COLUMNS = (
    "source",
    "w",
    "h",
    "src_x",
    "src_y",
    "dst_x",
    "dst_y",
    "motion_x",
    "motion_y",
    "motion_scale",
)
"""Of FFmpeg's AVMotionVector, in the order of a row."""
FRAME_TYPES = "?IPB"
"""By AVPictureType; the rarer ones are unknown here."""


class FrameStatus(StrEnum):
    """Whether a camera's frame is in a packet, and why not."""

    OKAY = "FRAME_OKAY"
    DROPPED = "FRAME_DROPPED"
    """none came in time"""
    READ_ERROR = "FRAME_READ_ERROR"
    """its reading failed, or it refers to lost ones"""
    BROKEN = "CAP_BROKEN"
    """the camera cannot be reached, or too many reads failed in a row"""


class FrameData(TypedDict):
    """One camera's part of a packet; all but the status is None unless that is FRAME_OKAY."""

    frame_status: str
    """a ``FrameStatus``"""
    timestamp: float | None
    """Unix time (s) of the capture by the sender's clock"""
    frame: Image | None
    """H×W×3 uint8, BGR"""
    frame_type: str | None
    """"I", "P", "B" or "?" """
    motion_vector: MotionVectors | None
    """N×10 int64, columns as in MOTION_COLUMNS"""
    time_ns: int | None
    """``timestamp`` as exact integer nanoseconds"""
    error_bound_ns: int | None
    """±, 99 % confidence, against the sender's clock; None also where nothing bounds it"""
    timing: str | None
    """a ``Timing``: what the time rests on"""
    clock: str | None
    """a ``ClockState``: what is to be thought of the sender's clock"""


class FramePacket(dict[int, FrameData]):
    """Frames of one instant by camera number, with what holds for all of them."""

    def __init__(self, time_ns: int, frames: Mapping[int, FrameData]) -> None:
        super().__init__(frames)
        self.time_ns = time_ns
        """Unix time of the packet: that of the slowest camera's frame."""

    @property
    def okay(self) -> dict[int, FrameData]:
        """The cameras that have a frame."""
        return {n: data for n, data in self.items() if data["frame_status"] == FrameStatus.OKAY}

    @property
    def spread_ns(self) -> int:
        """Latest minus earliest time of the frames."""
        return spread_ns([data["time_ns"] for data in self.okay.values() if data["time_ns"]])

    @property
    def error_bound_ns(self) -> int | None:
        """The largest bound of the frames' times; None if one of them has none, or none is there.

        The true spread is at most ``spread_ns`` + 2 · this, if the cameras' clocks agree.
        """
        bounds = [data["error_bound_ns"] for data in self.okay.values()]
        known = [bound for bound in bounds if bound is not None]
        return max(known) if known and len(known) == len(bounds) else None


def frame_data(frame: LiveFrame) -> FrameData:
    """Convert a frame that is there."""
    stamp = frame.stamp
    return FrameData(
        frame_status=FrameStatus.OKAY.value,
        timestamp=stamp.time_ns / NS_PER_S,
        frame=to_pixels(frame.decoded, "bgr24"),
        frame_type=frame_type(frame.decoded),
        motion_vector=motion_vectors(frame.decoded),
        time_ns=stamp.time_ns,
        error_bound_ns=stamp.bound_ns,
        timing=stamp.timing.value,
        clock=stamp.clock.value,
    )


def no_frame(status: FrameStatus) -> FrameData:
    """Stand in for a frame that is not there."""
    return FrameData(
        frame_status=status.value,
        timestamp=None,
        frame=None,
        frame_type=None,
        motion_vector=None,
        time_ns=None,
        error_bound_ns=None,
        timing=None,
        clock=None,
    )


def frame_type(decoded: av.VideoFrame) -> str:
    """ "I", "P", "B" or "?"."""
    kind = int(decoded.pict_type)
    return FRAME_TYPES[kind] if kind < len(FRAME_TYPES) else "?"


def motion_vectors(decoded: av.VideoFrame) -> MotionVectors:
    """N×10 int64; 0×10 where the frame has none.

    Not by ``decoded.side_data``: the frame would keep it and it the frame, so that each picture
    would stay in memory until Python next looks for such cycles.
    """
    vectors = SideDataContainer(decoded).get("MOTION_VECTORS")  # type: ignore[call-arg]
    if vectors is None:
        return np.empty((0, len(MOTION_COLUMNS)), np.int64)
    rows = vectors.to_ndarray()
    return np.column_stack([rows[name].astype(np.int64) for name in MOTION_COLUMNS])
