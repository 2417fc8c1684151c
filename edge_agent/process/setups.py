"""What the agent tells a child when it starts it."""

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from capture_protocol.rig import NodeCamera, NodeConfig
from edge_agent.clock import Discipline
from edge_agent.process.orders import SessionOrder


@dataclass(frozen=True, slots=True)
class CaptureSetup:
    """What the capture process has to know."""

    config: NodeConfig
    folder: Path
    """Where node.toml lies."""
    logs: dict[str, Path]
    """Capture log of each camera."""
    idle_rate: Fraction
    """Frame rate that cameras are kept locked to until the first session."""
    discipline: Discipline
    """Of CLOCK_REALTIME, as known at the start; later ones come as orders."""


@dataclass(frozen=True, slots=True)
class StreamTarget:
    """Where and as whom a camera streams."""

    host: str
    port: int
    rig_id: bytes
    key: bytes
    camera: int


@dataclass(frozen=True, slots=True)
class WorkerSetup:
    """What a worker has to know."""

    config: NodeCamera
    folder: Path
    """Where node.toml lies."""
    capture_log: Path
    stream_log: Path
    spool_root: Path
    spool_limit_bytes: int
    target: StreamTarget
    idle_close_s: float
    orders: list[SessionOrder] = field(default_factory=list)
    """Sessions that are not sealed yet, oldest first."""
