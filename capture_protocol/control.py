"""Messages of the control link (ZeroMQ with CURVE): small JSON documents, one model each.

Agents are DEALERs whose identity is the node's name, the server is a ROUTER. A message is one
frame of JSON; `EventLog` has a second frame with the records themselves.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from capture_protocol.errors import InputError
from capture_protocol.events import AgentState
from capture_protocol.frame import LockState
from capture_protocol.rig import Name

CONTROL_VERSION = 1
HEARTBEAT_S = 1.0
SILENT_S = 3.5
"""A node whose heartbeats stay away this long is called silent."""

Slot = Annotated[int, Field(ge=0)]
Session = Annotated[int, Field(ge=1, lt=2**32)]


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Spooled(_Message):
    """Frames of one camera that an agent still holds, not yet known to be durable."""

    session: Session
    camera: Name
    first_slot: Slot
    last_slot: Slot


class CameraHealth(_Message):
    """State of one camera in a heartbeat."""

    camera: Name
    lock: LockState = LockState.FREE
    phase_error_ns: int | None = None
    """Grid error of the last exposure midpoint."""
    next_slot: int = 0
    """The slot after the last one captured."""
    captured: int = 0
    lost: int = 0
    encoded: int = 0
    sent_slot: int = -1
    """Last slot given to the stream connection."""
    spool_bytes: int = 0
    connected: bool = False
    problem: str = ""
    """Empty while all is well, else one line that says what is wrong and what to do."""


class ClockFinding(_Message):
    """The verdict on one point of a node's clock chain."""

    point: str
    verdict: Literal["ok", "warning", "failed"]
    text: str
    mend: str = ""
    """What to do; empty where nothing is to be done."""


class ClockHealth(_Message):
    """What an agent knows of its CLOCK_REALTIME."""

    source: int = 0
    """`events.ClockSource`."""
    offset_ns: int = 0
    uncertainty_ns: int = 0
    stepped: bool = False
    problem: str = ""
    findings: list[ClockFinding] = []
    """Point by point, where PTP disciplines the clock."""


class Register(_Message):
    """agent → server: first message after (re)connecting."""

    kind: Literal["register"] = "register"
    version: int = CONTROL_VERSION
    node: Name
    software: str
    cameras: list[Name]
    state: AgentState
    session: int = 0
    """Session being recorded, 0 if none."""
    datagram_host: str
    datagram_port: int
    """Where this agent hears unicast datagrams: START is repeated to it there."""
    spooled: list[Spooled] = []


class Heartbeat(_Message):
    """agent → server, every second and at every change of state."""

    kind: Literal["heartbeat"] = "heartbeat"
    node: Name
    state: AgentState
    session: int = 0
    clock: ClockHealth = ClockHealth()
    cameras: list[CameraHealth] = []
    release_mode: str = ""
    """How releases are timed, e.g. "spin+fifo50+mlock" or "spin" where rights are missing."""
    refused: dict[str, int] = {}
    """Datagrams refused since the agent started, by `datagram.Refusal`."""


class Ack(_Message):
    """agent → server: a START or STOP was taken, or why not."""

    kind: Literal["ack"] = "ack"
    node: Name
    of: Literal["start", "stop"]
    session: Session
    accepted: bool
    reason: str = ""


class Drained(_Message):
    """agent → server: this camera has nothing left to send for a session."""

    kind: Literal["drained"] = "drained"
    node: Name
    camera: Name
    session: Session
    frames: int
    last_slot: int
    """Last slot in the spool, -1 if there is none."""


class EventLog(_Message):
    """agent → server: records of an event log (`events`), whole, in the second frame."""

    kind: Literal["event_log"] = "event_log"
    node: Name
    camera: Name
    stage: Literal["capture", "stream"]
    session: Session
    first_number: int
    final: bool = False
    """No more records of this session will come from this stage."""


class Registered(_Message):
    """server → agent: answer to `Register`."""

    kind: Literal["registered"] = "registered"
    version: int = CONTROL_VERSION
    start: str = ""
    """The running session's START datagram in hex, byte for byte; empty if none runs."""
    stop: str = ""
    """The running session's STOP datagram, if it was given already."""
    discard: list[Session] = []
    """Sessions that are complete: what is spooled of them can go."""


class Durable(_Message):
    """server → agent: all slots below `next_slot` that were sent are safe in closed files."""

    kind: Literal["durable"] = "durable"
    session: Session
    camera: Name
    next_slot: Slot


class EventLogStored(_Message):
    """server → agent: records up to here are on the server's disk."""

    kind: Literal["event_log_stored"] = "event_log_stored"
    session: Session
    camera: Name
    stage: Literal["capture", "stream"]
    next_number: int


class Sealed(_Message):
    """server → agent: the session is sealed; its spool and logs can go."""

    kind: Literal["sealed"] = "sealed"
    session: Session
    complete: bool


AgentMessage = Register | Heartbeat | Ack | Drained | EventLog
ServerMessage = Registered | Durable | EventLogStored | Sealed

_AGENT: TypeAdapter[AgentMessage] = TypeAdapter(
    Annotated[AgentMessage, Field(discriminator="kind")]
)
_SERVER: TypeAdapter[ServerMessage] = TypeAdapter(
    Annotated[ServerMessage, Field(discriminator="kind")]
)


def pack_message(message: AgentMessage | ServerMessage) -> bytes:
    """The message's JSON."""
    return message.model_dump_json().encode()


def unpack_agent_message(data: bytes) -> AgentMessage:
    """What an agent sent.

    Raises:
        InputError: not a message this version knows.
    """
    try:
        return _AGENT.validate_json(data)
    except ValidationError as error:
        raise InputError(f"unreadable control message: {error.errors()[0]['msg']}") from error


def unpack_server_message(data: bytes) -> ServerMessage:
    """What the server sent.

    Raises:
        InputError: not a message this version knows.
    """
    try:
        return _SERVER.validate_json(data)
    except ValidationError as error:
        raise InputError(f"unreadable control message: {error.errors()[0]['msg']}") from error
