"""What each message of an agent does on the server."""

import logging
import time

from capture_protocol import InputError
from capture_protocol.control import (
    Ack,
    AgentMessage,
    Drained,
    EventLog,
    Heartbeat,
    Register,
    Registered,
    Sealed,
    ServerMessage,
)
from control_server.fleet.link import FleetLink
from control_server.fleet.nodes import Fleet
from control_server.session.run import SessionRun
from control_server.session.sessions import Sessions
from control_server.task_set import TaskSet

_log = logging.getLogger(__name__)


class Switchboard:
    """Takes messages of authenticated nodes and answers them."""

    def __init__(self, fleet: Fleet, sessions: Sessions) -> None:
        self._fleet = fleet
        self._sessions = sessions
        self._link: FleetLink | None = None
        self._tasks = TaskSet()

    def connect(self, link: FleetLink) -> None:
        """The link that answers go out by."""
        self._link = link

    def receive(self, message: AgentMessage, records: bytes) -> None:
        """Take one message; `records` is the second frame of an event log."""
        view = self._fleet.heard(message.node, time.monotonic_ns())
        if view is None:
            return
        match message:
            case Register():
                view.registered, view.heartbeat = message, None
                self._note_presence(message.node, message.session)
                self._welcome(message)
            case Heartbeat():
                view.heartbeat = message
                self._note_presence(message.node, message.session)
            case Ack():
                self._take_ack(message)
            case Drained():
                run = self._run_of(message.node, message.session, message.camera)
                if run is not None:
                    run.take_drained(message)
            case EventLog():
                self._take_log(message, records)

    def tell(self, node: str, message: ServerMessage) -> None:
        """Send a message to a node, in its own time."""
        if self._link is not None:
            self._tasks.spawn(self._link.send(node, message))

    async def close(self) -> None:
        """Let messages under way finish."""
        await self._tasks.finish()

    def _welcome(self, message: Register) -> None:
        """Answer a registration: what runs, what can go, and how far the server has got."""
        current = self._sessions.current()
        running = current if current is not None and message.node in current.nodes else None
        over = self._sessions.discardable(message.node)
        self.tell(
            message.node,
            Registered(
                start=running.plan.start_datagram if running else "",
                stop=running.keeper.current.stop_datagram if running else "",
                discard=over,
            ),
        )
        numbers = {spooled.session for spooled in message.spooled} | {message.session}
        numbers |= {running.plan.session} if running else set()
        for number in sorted(numbers - {0}):
            run = self._recall(number)
            for answer in run.progress_for(message.node) if run else ():
                self.tell(message.node, answer)
            if run is None and number in over:  # sealed while the node was away
                self.tell(message.node, Sealed(session=number, complete=True))

    def _recall(self, number: int) -> SessionRun | None:
        try:
            return self._sessions.recall(number)
        except InputError as error:
            _log.error("session %d: %s", number, error)
            return None

    def _note_presence(self, node: str, session: int) -> None:
        """Who records a session has evidently got its START."""
        run = self._sessions.open_runs.get(session)
        if run is not None:
            run.start_acks.take(node, True, "")

    def _take_ack(self, message: Ack) -> None:
        run = self._sessions.open_runs.get(message.session)
        if run is None:
            return
        if message.of == "start":
            run.start_acks.take(message.node, message.accepted, message.reason)
        elif message.accepted:
            run.stop_acks.take(message.node, True, "")
        else:
            _log.warning("%s refused STOP: %s", message.node, message.reason)

    def _take_log(self, message: EventLog, records: bytes) -> None:
        run = self._run_of(message.node, message.session, message.camera)
        if run is not None:
            self._tasks.spawn(self._store_log(run, message, records))
        elif message.session in self._sessions.discardable(message.node):
            self.tell(message.node, Sealed(session=message.session, complete=True))

    async def _store_log(self, run: SessionRun, message: EventLog, records: bytes) -> None:
        stored = await run.take_log(message, records)
        if stored is not None:
            self.tell(message.node, stored)

    def _run_of(self, node: str, session: int, camera: str) -> SessionRun | None:
        """The open session, if the camera in it is the node's own."""
        run = self._recall(session)
        if run is None:
            return None
        owners = {planned.name: planned.node for planned in run.plan.cameras}
        if owners.get(camera) != node:
            _log.warning("node %s speaks for camera %s, which is not its own", node, camera)
            return None
        return run
