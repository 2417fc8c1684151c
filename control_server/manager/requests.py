"""What the manager's commands and its process say to each other."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

LONGEST_S = 1e9
MOST_SLOTS = 2**40
"""Of a session: decades, and more slots than that has at any rate."""


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StartRequest(_Message):
    """Record a session."""

    command: Literal["start"] = "start"
    frames: Annotated[int, Field(ge=1, le=MOST_SLOTS)] | None = None
    """Slots to record; None: until stopped."""
    duration_s: Annotated[float, Field(gt=0, le=LONGEST_S)] | None = None
    """The same in seconds, turned into slots at the rig's rate."""
    at_ns: int | None = None
    """t0 (UTC); None: as soon as START can reach everyone."""
    force: bool = False
    """Record although preflight complains; every frame is marked."""


class StopRequest(_Message):
    """End the running session and wait until it is sealed."""

    command: Literal["stop"] = "stop"


class StatusRequest(_Message):
    """Say what goes on."""

    command: Literal["status"] = "status"


class PreflightRequest(_Message):
    """Say whether a session could start now."""

    command: Literal["preflight"] = "preflight"


class ShutdownRequest(_Message):
    """End the manager's process; a running session goes on in agents and segmenters."""

    command: Literal["shutdown"] = "shutdown"


Request = Annotated[
    StartRequest | StopRequest | StatusRequest | PreflightRequest | ShutdownRequest,
    Field(discriminator="command"),
]


class Started(_Message):
    """A session records on every camera."""

    session: int
    t0_ns: int
    rate: str
    frames: int | None
    cameras: list[str]
    folder: str
    forced: bool


class CameraResult(_Message):
    """What a session has of one camera."""

    camera: str
    frames: int
    missing: int
    parts: int


class Stopped(_Message):
    """A session is sealed."""

    session: int
    last_slot: int
    complete: bool
    reason: str
    folder: str
    cameras: list[CameraResult]


class Check(_Message):
    """One finding of the preflight."""

    where: str
    """The node, or "server"."""
    point: str
    verdict: Literal["ok", "warning", "failed"]
    detail: str
    hint: str = ""
    exit_code: int = 3
    """What `manager` exits with when this is what failed."""
    forcible: bool = True
    """Whether --force may pass over it."""

    @property
    def name(self) -> str:
        """Where and what, for one line."""
        return f"{self.where} {self.point}"


class Preflight(_Message):
    """All findings; a session can start when none has failed."""

    checks: list[Check]

    @property
    def failed(self) -> list[Check]:
        """What keeps a session from starting."""
        return [check for check in self.checks if check.verdict == "failed"]


class CameraStatus(_Message):
    """One camera in `manager status`."""

    camera: str
    node: str
    stream_port: int
    lock: str = "unknown"
    phase_error_us: float | None = None
    delivered: int = 0
    """Frames in closed files."""
    sent: int = 0
    """Slots that the agent has handed to its connection."""
    captured: int = 0
    lost: int = 0
    late: int = 0
    spool_bytes: int = 0
    connected: bool = False
    parts: int = 0
    segments: int = 0
    problem: str = ""


class NodeStatus(_Message):
    """One node in `manager status`."""

    node: str
    heard: bool
    heartbeat_age_s: float | None
    state: str
    session: int
    clock_source: str
    clock_offset_ns: int
    clock_uncertainty_ns: int
    clock_problem: str
    release_mode: str
    refused: dict[str, int]
    software: str


class SessionStatus(_Message):
    """The open session in `manager status`."""

    session: int
    phase: str
    t0_ns: int
    rate: str
    slot_now: int
    elapsed_s: float
    last_slot: int | None
    segments: int
    skew_estimate_us: float | None
    """Largest difference between the cameras' last phase errors."""
    waiting_for: list[str]
    problem: str
    folder: str


class Status(_Message):
    """All of `manager status`."""

    rig: str
    pid: int
    uptime_s: float
    listen: str
    control_port: int
    supervisor: str
    storage: str
    free_bytes: int
    session: SessionStatus | None
    last_session: int
    nodes: list[NodeStatus]
    cameras: list[CameraStatus]
    refused_peers: dict[str, int]
    refused_datagrams: dict[str, int]
    advice: list[str]
    """What the operator should do, most urgent first."""


class Done(_Message):
    """Nothing to report but success."""

    text: str = ""


Result = Started | Stopped | Status | Preflight | Done
