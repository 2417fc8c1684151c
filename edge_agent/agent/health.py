"""A heartbeat's content, from the last reports of the children."""

from dataclasses import asdict, dataclass, field

from capture_protocol.control import CameraHealth, ClockFinding, ClockHealth
from capture_protocol.frame import LockState
from edge_agent.clock import UNKNOWN_DISCIPLINE, Discipline
from edge_agent.linuxptp import Finding
from edge_agent.process import CameraStatus, CaptureStatus, StreamStatus


@dataclass(slots=True)
class NodeHealth:
    """The last that was heard of every part."""

    discipline: Discipline = UNKNOWN_DISCIPLINE
    """Of CLOCK_REALTIME."""
    findings: tuple[Finding, ...] = ()
    """On its clock chain."""
    capture: CaptureStatus | None = None
    streams: dict[str, StreamStatus] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    """Problems of cameras that the agent itself has found."""

    def cameras(self, names: list[str]) -> list[CameraHealth]:
        """Health of these cameras."""
        return [self._camera(name) for name in names]

    def clock_health(self) -> ClockHealth:
        """Health of CLOCK_REALTIME."""
        discipline = self.discipline
        return ClockHealth(
            source=discipline.source,
            offset_ns=discipline.offset_ns,
            uncertainty_ns=discipline.uncertainty_ns,
            stepped=self.capture.clock_stepped if self.capture else False,
            problem=discipline.problem,
            findings=[ClockFinding(**asdict(finding)) for finding in self.findings],
        )

    @property
    def release_mode(self) -> str:
        """How releases are timed."""
        return self.capture.release_mode if self.capture else ""

    def _camera(self, name: str) -> CameraHealth:
        seen = self.capture.cameras.get(name) if self.capture else None
        camera = seen or CameraStatus()
        stream = self.streams.get(name) or StreamStatus(name)
        return CameraHealth(
            camera=name,
            lock=LockState(camera.lock),
            phase_error_ns=camera.phase_error_ns,
            next_slot=camera.next_slot,
            captured=camera.captured,
            lost=camera.lost,
            encoded=stream.encoded,
            sent_slot=stream.sent_slot,
            spool_bytes=stream.spool_bytes,
            connected=stream.connected,
            problem=self.problems.get(name) or camera.problem or stream.problem,
        )
