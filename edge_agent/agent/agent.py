"""The agent: wires sockets, link, session keeper, archive and children together."""

import asyncio
import contextlib
import logging
import signal
from importlib.metadata import version
from typing import Any, Literal

from capture_protocol.control import (
    HEARTBEAT_S,
    Ack,
    Durable,
    EventLogStored,
    Heartbeat,
    Register,
    Registered,
    Sealed,
    ServerMessage,
)
from capture_protocol.datagram import DatagramCodec
from capture_protocol.errors import TuttiError
from capture_protocol.events import AgentState
from capture_protocol.keys import RIG_KEY_NAME, read_rig_key
from capture_protocol.rig import NodeConfig
from edge_agent.agent.archive import Archive
from edge_agent.agent.children import Children
from edge_agent.agent.datagrams import (
    DatagramReceiver,
    local_address,
    open_group_socket,
    open_own_socket,
)
from edge_agent.agent.health import NodeHealth
from edge_agent.agent.keeper import SessionKeeper
from edge_agent.agent.link import ControlLink, read_link_keys
from edge_agent.agent.paths import NodePaths
from edge_agent.agent.service_report import ServiceReport
from edge_agent.clock.watch import LOOK_S, ClockWatch
from edge_agent.eventlog import RingWriter
from edge_agent.process import (
    CaptureStatus,
    Discard,
    Drained,
    DurableUpTo,
    Problem,
    Shutdown,
    StreamStatus,
)
from edge_agent.service import fields
from edge_agent.spool import spooled_sessions

_log = logging.getLogger("edge_agent")

_TICK_S = 0.25
_CAPTURE_END_S = 3.0  # SIGTERM: until the cameras have given their last frame
_DRAIN_S = 10.0  # SIGTERM: until the spools are delivered; what is left stays on disk
_CHILD_END_S = 3.0
_FLUSH_S = 1.0


class CaptureEndedError(TuttiError):
    """The capture process is gone; the agent ends too, so that its supervisor starts it anew."""


class Agent:
    """One node's agent. `run` returns after SIGTERM or SIGINT, when everything is in order."""

    def __init__(self, config: NodeConfig, paths: NodePaths) -> None:
        """Read keys and memory, and claim the state folder.

        Raises:
            InputError: a key is missing or the memory is damaged.
            LogBusyError: another agent uses this state folder.
        """
        self._config = config
        self._cameras = [camera.name for camera in config.camera]
        rig_key = read_rig_key(paths.folder / RIG_KEY_NAME)
        keys = read_link_keys(paths.folder)
        paths.make()
        for camera in self._cameras:
            RingWriter(paths.log(camera, "capture")).close()  # workers map it at once
        self._children = Children(
            config, paths, rig_key, self._take_report, self._on_capture_end, self._open_orders
        )
        codec = DatagramCodec(bytes.fromhex(config.rig_id), rig_key)
        self._keeper = SessionKeeper(codec, paths.memory, self._children, self._acknowledge)
        self._archive = Archive(config.name, self._cameras, paths)
        self._health = NodeHealth()
        self._clock = ClockWatch(config.clock, config.ptp)
        self._link = ControlLink(config, keys, self._on_link_up, self._take_message)
        self._service = ServiceReport(len(self._cameras), self._keeper, self._health)
        self._registered_session = 0
        self._announced = (AgentState.IDLE, 0)
        self._stopping = asyncio.Event()
        self._failure: TuttiError | None = None
        self._address = local_address(config)
        self._spool_root = paths.spool

    async def run(self) -> None:
        """Serve until told to stop.

        Raises:
            CaptureEndedError: the capture process died or could not start.
            EnvironmentLackError: the datagram port is not to be had.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        self._own = open_own_socket(self._address)
        for sock in (open_group_socket(self._config, self._address), self._own):
            await loop.create_datagram_endpoint(
                lambda: DatagramReceiver(self._keeper.take_datagram), sock=sock
            )
        for session in self._keeper.memory.unsealed:
            self._archive.add(session)
        self._health.discipline = await asyncio.to_thread(self._clock.look)
        self._children.start(self._keeper.memory.idle_rate, self._health.discipline)
        self._keeper.resume()
        link = asyncio.create_task(self._link.run())
        tasks = [asyncio.create_task(self._beat()), asyncio.create_task(self._watch_clock())]
        try:
            await self._serve([link, *tasks])
            if self._failure is None:
                await self._drain()
        finally:
            for task in tasks:
                task.cancel()
            self._children.end(Shutdown(), _CHILD_END_S)
            await self._link.flush(_FLUSH_S)
            link.cancel()
            await asyncio.gather(link, *tasks, return_exceptions=True)
        if self._failure is not None:
            raise self._failure

    async def _serve(self, tasks: list[asyncio.Task[None]]) -> None:
        """Wait for the order to stop; a task that fails ends the agent with its error."""
        stopping = asyncio.create_task(self._stopping.wait())
        done, _ = await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def _beat(self) -> None:
        """Heartbeats every second and at every change, the event logs, and the watchdog."""
        loop = asyncio.get_running_loop()
        next_s = loop.time()
        while True:
            if loop.time() >= next_s:
                next_s = loop.time() + HEARTBEAT_S
                self._heartbeat()
                self._hand_over()
                self._service.tell(loop.time())
            elif self._announced != (self._keeper.state, self._keeper.session):
                self._heartbeat()
            await asyncio.sleep(_TICK_S)

    async def _watch_clock(self) -> None:
        """Tell the capture process who disciplines the clock; asking may take a while."""
        while True:
            await asyncio.sleep(LOOK_S)
            discipline = await asyncio.to_thread(self._clock.look)
            self._health.findings = self._clock.findings
            if discipline != self._health.discipline:
                self._health.discipline = discipline
                self._children.to_capture(discipline)

    async def _drain(self) -> None:
        """SIGTERM: end the running session at this slot and deliver what is spooled."""
        self._service.stopping()
        self._keeper.leave()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CAPTURE_END_S):
                while self._keeper.session:
                    await asyncio.sleep(0.05)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_S):
                while not all(map(self._archive.is_drained, self._keeper.memory.unsealed)):
                    await asyncio.sleep(0.05)
        self._hand_over()
        self._heartbeat()

    def _take_report(self, report: Any) -> None:
        """A child has something to say."""
        if isinstance(report, StreamStatus):
            self._health.streams[report.camera] = report
            self._health.problems.pop(report.camera, None)
        elif isinstance(report, Drained):
            self._link.send(self._archive.on_drained(report))
            self._settle()
        elif isinstance(report, Problem):
            self._fail(report)
        else:
            if isinstance(report, CaptureStatus):
                self._health.capture = report
                self._service.take(report, asyncio.get_running_loop().time())
            self._keeper.on_capture_report(report)
            self._settle()

    def _fail(self, problem: Problem) -> None:
        if problem.camera:
            self._health.problems[problem.camera] = problem.text
            about = fields(session=self._keeper.session, camera=problem.camera)
            _log.warning("camera %s: %s", problem.camera, problem.text, **about)
            return
        self._failure = CaptureEndedError(problem.text, hint=problem.hint)
        self._stopping.set()

    def _on_capture_end(self) -> None:
        if self._failure is None:
            self._failure = CaptureEndedError(
                "the capture process has died", hint="start the agent again: it rejoins its session"
            )
        self._stopping.set()

    def _settle(self) -> None:
        """Go idle once nothing is left to send, and tell of a change at once."""
        machine = self._keeper.machine
        if machine.state is AgentState.DRAINING and self._archive.is_drained(machine.finished):
            machine.on_drained()
        if self._announced != (self._keeper.state, self._keeper.session):
            self._heartbeat()

    def _take_message(self, message: ServerMessage) -> None:
        """The server has something to say."""
        if isinstance(message, Registered):
            self._take_registered(message)
        elif isinstance(message, Durable):
            order = DurableUpTo(message.session, message.next_slot)
            self._children.to_worker(message.camera, order)
        elif isinstance(message, EventLogStored):
            self._archive.on_stored(message)
        elif isinstance(message, Sealed):
            self._forget(message.session, complete=message.complete)

    def _take_registered(self, message: Registered) -> None:
        self._keeper.take_registered(message.start, message.stop, self._registered_session)
        for session in message.discard:
            self._forget(session, complete=True)
        for drained in self._archive.drained_messages():
            self._link.send(drained)

    def _forget(self, session: int, *, complete: bool) -> None:
        if session != self._keeper.session:
            self._children.to_workers(Discard(session, complete))
            self._archive.forget(session)
            self._keeper.forget(session)

    def _on_link_up(self) -> None:
        keeper = self._keeper
        host, port = self._own.getsockname()[:2]
        self._registered_session = keeper.session
        _log.info("connected to the server")
        register = Register(
            node=self._config.name,
            software=version("tutti-capture"),
            cameras=self._cameras,
            state=keeper.state,
            session=keeper.session,
            datagram_host=host,
            datagram_port=port,
            spooled=self._archive.spooled(spooled_sessions(self._spool_root)),
        )
        self._link.send(register)
        self._heartbeat()

    def _heartbeat(self) -> None:
        keeper = self._keeper
        if self._announced != (keeper.state, keeper.session):
            _log.info(
                "%s, session %d",
                keeper.state.name.lower(),
                keeper.session,
                **self._service.fields(),
            )
        self._announced = (keeper.state, keeper.session)
        beat = Heartbeat(
            node=self._config.name,
            state=keeper.state,
            session=keeper.session,
            clock=self._health.clock_health(),
            cameras=self._health.cameras(self._cameras),
            release_mode=self._health.release_mode,
            refused=dict(keeper.refused),
        )
        self._link.send(beat)

    def _hand_over(self) -> None:
        if not self._link.up:
            return
        now_s = asyncio.get_running_loop().time()
        for message, records in self._archive.batches(now_s, self._is_over):
            self._link.send(message, records)

    def _is_over(self, session: int) -> bool:
        """Whether a session has ended here; not if it may be rejoined after SIGTERM."""
        return session != self._keeper.session and not self._stopping.is_set()

    def _acknowledge(
        self, of: Literal["start", "stop"], session: int, accepted: bool, reason: str
    ) -> None:
        if accepted:
            self._archive.add(session)
        _log.info("session %d: %s %s %s", session, of, "taken" if accepted else "refused:", reason)
        self._link.send(
            Ack(
                node=self._config.name,
                of=of,
                session=session,
                accepted=accepted,
                reason=reason,
            )
        )

    def _open_orders(self) -> list[Any]:
        return self._keeper.unsealed_orders()


def run_agent(config: NodeConfig, paths: NodePaths) -> None:
    """Run an agent until SIGTERM or SIGINT.

    Raises:
        TuttiError: as `Agent`.
    """

    async def main() -> None:
        await Agent(config, paths).run()

    asyncio.run(main())
