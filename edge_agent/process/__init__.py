"""How the agent's processes start, talk to each other and die together."""

from edge_agent.process.channel import Channel, channel_pair
from edge_agent.process.orders import (
    CameraStatus,
    CaptureDone,
    CaptureStatus,
    Discard,
    Drained,
    DurableUpTo,
    EndSession,
    Problem,
    SessionOrder,
    SessionRefused,
    SessionTaken,
    Shutdown,
    StreamStatus,
)
from edge_agent.process.parent import die_with_parent
from edge_agent.process.setups import CaptureSetup, StreamTarget, WorkerSetup
from edge_agent.process.start import fork_server, start_child

__all__ = [
    "CameraStatus",
    "CaptureDone",
    "CaptureSetup",
    "CaptureStatus",
    "Channel",
    "Discard",
    "Drained",
    "DurableUpTo",
    "EndSession",
    "Problem",
    "SessionOrder",
    "SessionRefused",
    "SessionTaken",
    "Shutdown",
    "StreamStatus",
    "StreamTarget",
    "WorkerSetup",
    "channel_pair",
    "die_with_parent",
    "fork_server",
    "start_child",
]
