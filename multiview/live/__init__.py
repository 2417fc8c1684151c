"""Live streams: capture times from sender reports, frames of several cameras together."""

from multiview.live._connection import LiveOptions
from multiview.live._errors import StreamBrokenError, StreamProcessingError
from multiview.live._packet import FrameData, FramePacket, FrameStatus, MotionVectors
from multiview.live._sender_clock import ClockFinding, Verdict
from multiview.live._source import LiveVideoSource
from multiview.live._stamp import ClockState, Timing
from multiview.live._synchronizer import StreamSynchronizer

__all__ = [
    "ClockFinding",
    "ClockState",
    "FrameData",
    "FramePacket",
    "FrameStatus",
    "LiveOptions",
    "LiveVideoSource",
    "MotionVectors",
    "StreamBrokenError",
    "StreamProcessingError",
    "StreamSynchronizer",
    "Timing",
    "Verdict",
]
