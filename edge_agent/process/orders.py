"""What the agent orders its children to do, and what they report."""

from dataclasses import dataclass, field

from capture_protocol.datagram import Start


@dataclass(frozen=True, slots=True)
class SessionOrder:
    """Record this session (capture process), or expect its frames (worker)."""

    start: Start
    last_slot: int | None = None
    """Known when the START tells it, or the STOP was given already."""
    running: bool = True
    """False: it is over; encode and deliver what is left of it."""


@dataclass(frozen=True, slots=True)
class EndSession:
    """End a session with this slot."""

    session: int
    last_slot: int


@dataclass(frozen=True, slots=True)
class DurableUpTo:
    """The server has all slots below ``next_slot`` in closed files."""

    session: int
    next_slot: int


@dataclass(frozen=True, slots=True)
class Discard:
    """The server has sealed a session: forget its spool."""

    session: int
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Shutdown:
    """End the process in good order."""


@dataclass(frozen=True, slots=True)
class CameraStatus:
    """One camera as the capture process sees it."""

    lock: int = 0
    phase_error_ns: int | None = None
    next_slot: int = 0
    captured: int = 0
    lost: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class CaptureStatus:
    """Report of the capture process, about once a second."""

    session: int
    """0 if none is recorded."""
    capturing: bool
    next_slot: int
    """Slot that is released next, on the grid that is followed."""
    release_mode: str
    clock_width_ns: int
    clock_stepped: bool
    cameras: dict[str, CameraStatus] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SessionTaken:
    """The capture process records this session."""

    session: int


@dataclass(frozen=True, slots=True)
class SessionRefused:
    """The capture process cannot record this session."""

    session: int
    reason: str


@dataclass(frozen=True, slots=True)
class CaptureDone:
    """Every camera has given its last frame of the session."""

    session: int
    last_slot: int


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """Report of a stream worker, about twice a second while it works."""

    camera: str
    session: int = 0
    encoded: int = 0
    sent_slot: int = -1
    spool_bytes: int = 0
    connected: bool = False
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Drained:
    """A worker's streamer has delivered all of a session that it holds."""

    camera: str
    session: int
    frames: int
    last_slot: int


@dataclass(frozen=True, slots=True)
class Problem:
    """A child cannot go on; one line for the operator."""

    text: str
    hint: str = ""
    camera: str = ""
    """Of a worker; empty: the capture process."""
