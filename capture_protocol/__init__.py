"""What agent and server agree on: the grid, the signed datagrams, the control messages, the
evidence of a frame's time and where it is kept.

Nothing here starts a thread, opens a socket or knows either side. One file per concept; the names
of daily use are exported here.
"""

from capture_protocol.clock import ClockReading, read_clock
from capture_protocol.datagram import (
    DatagramCodec,
    DatagramError,
    Refusal,
    Start,
    StartFlag,
    Stop,
)
from capture_protocol.errors import EnvironmentLackError, InputError, TuttiError
from capture_protocol.events import AgentState, ClockSource, Event, EventKind, LossPlace
from capture_protocol.evidence import evidence_nal, read_evidence, read_misb_us, splice
from capture_protocol.frame import FrameFlag, FrameRecord, LockState, midpoint_ns
from capture_protocol.grid import Grid, parse_rate
from capture_protocol.nal import Codec, length_prefix_size
from capture_protocol.publish import publish_bytes, publish_text
from capture_protocol.rig import NodeConfig, RigConfig, load_node, load_rig, node_config
from capture_protocol.session import Manifest, SegmentName, SessionFolder, SessionPlan

__all__ = [
    "AgentState",
    "ClockReading",
    "ClockSource",
    "Codec",
    "DatagramCodec",
    "DatagramError",
    "EnvironmentLackError",
    "Event",
    "EventKind",
    "FrameFlag",
    "FrameRecord",
    "Grid",
    "InputError",
    "LockState",
    "LossPlace",
    "Manifest",
    "NodeConfig",
    "Refusal",
    "RigConfig",
    "SegmentName",
    "SessionFolder",
    "SessionPlan",
    "Start",
    "StartFlag",
    "Stop",
    "TuttiError",
    "evidence_nal",
    "length_prefix_size",
    "load_node",
    "load_rig",
    "midpoint_ns",
    "node_config",
    "parse_rate",
    "publish_bytes",
    "publish_text",
    "read_clock",
    "read_evidence",
    "read_misb_us",
    "splice",
]
