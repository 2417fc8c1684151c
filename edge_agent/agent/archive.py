"""Sessions that the server has not sealed yet: logs to hand over, spools to deliver."""

from collections.abc import Callable, Iterator
from itertools import product

from capture_protocol.control import Drained as DrainedMessage
from capture_protocol.control import EventLog, EventLogStored, Spooled
from edge_agent.agent.handover import LogHandover, Stage
from edge_agent.agent.paths import NodePaths
from edge_agent.process import Drained
from edge_agent.spool import Spool, session_folder

_STAGES: tuple[Stage, ...] = ("capture", "stream")


class Archive:
    """Everything that a node still owes to the server, by session."""

    def __init__(self, node: str, cameras: list[str], paths: NodePaths) -> None:
        self._node = node
        self._cameras = cameras
        self._paths = paths
        self._handovers: dict[int, list[LogHandover]] = {}
        self._drained: dict[tuple[int, str], Drained] = {}

    def add(self, session: int) -> None:
        """A session that will have to be handed over."""
        if session not in self._handovers:
            self._handovers[session] = [
                LogHandover(self._node, camera, stage, session, self._paths.log(camera, stage))
                for camera, stage in product(self._cameras, _STAGES)
            ]

    def batches(
        self, now_s: float, is_over: Callable[[int], bool]
    ) -> Iterator[tuple[EventLog, bytes]]:
        """Event-log messages that are due."""
        for session, handovers in self._handovers.items():
            for handover in handovers:
                message = handover.batch(now_s, is_over(session))
                if message is not None:
                    yield message

    def on_stored(self, message: EventLogStored) -> None:
        """The server has stored records."""
        for handover in self._handovers.get(message.session, []):
            if (handover.camera, handover.stage) == (message.camera, message.stage):
                handover.on_stored(message.next_number)

    def on_drained(self, report: Drained) -> DrainedMessage:
        """A worker has delivered a session; returns what to tell the server."""
        self._drained[report.session, report.camera] = report
        return self._drained_message(report)

    def is_drained(self, session: int) -> bool:
        """Whether every camera has delivered a session."""
        return all((session, camera) in self._drained for camera in self._cameras)

    def is_handed_over(self, session: int) -> bool:
        """Whether the server has stored all event logs of a session."""
        return all(handover.complete for handover in self._handovers.get(session, []))

    def drained_messages(self) -> list[DrainedMessage]:
        """All that was delivered and is not sealed: a restarted server must hear it again."""
        return [self._drained_message(report) for report in self._drained.values()]

    def forget(self, session: int) -> None:
        """The server has sealed a session."""
        for handover in self._handovers.pop(session, []):
            handover.close()
        for camera in self._cameras:
            self._drained.pop((session, camera), None)

    def spooled(self, sessions: list[int]) -> list[Spooled]:
        """What lies in the spools of these sessions, as it is on disk."""
        found = []
        for session, camera in product(sessions, self._cameras):
            span = Spool.span(session_folder(self._paths.spool, session, camera))
            if span is not None:
                first, last = span
                found.append(
                    Spooled(session=session, camera=camera, first_slot=first, last_slot=last)
                )
        return found

    def _drained_message(self, report: Drained) -> DrainedMessage:
        return DrainedMessage(
            node=self._node,
            camera=report.camera,
            session=report.session,
            frames=report.frames,
            last_slot=report.last_slot,
        )
