"""`manager serve`: the process that holds the rig together."""

import asyncio
import fcntl
import logging
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import assert_never

from pydantic import BaseModel

from capture_protocol.service_manager import ServiceManager
from control_server.errors import RigError
from control_server.fleet.announcer import Announcer
from control_server.fleet.link import FleetLink
from control_server.fleet.nodes import Fleet
from control_server.manager.command_link import Progress, make_runtime, open_command_server
from control_server.manager.delivery import Delivery
from control_server.manager.recorder import Recorder
from control_server.manager.requests import (
    Done,
    PreflightRequest,
    Request,
    ShutdownRequest,
    StartRequest,
    Status,
    StatusRequest,
    StopRequest,
)
from control_server.manager.status import status
from control_server.manager.storage_guard import guard_storage
from control_server.manager.switchboard import Switchboard
from control_server.manager.watchdog import feed
from control_server.refusals import REFUSALS_NAME, RefusalCounts
from control_server.rig.place import RigPlace
from control_server.segmenter.ffmpeg_command import find_ffmpeg
from control_server.segmenter.local_supervisor import LocalSupervisor
from control_server.segmenter.supervisor import Supervisor
from control_server.segmenter.systemd_supervisor import SystemdSupervisor
from control_server.session.counter import session_numbers
from control_server.session.run import SessionRun
from control_server.session.sessions import Sessions
from control_server.task_set import TaskSet

LOCK_NAME = "manager.lock"
_log = logging.getLogger(__name__)


class ControlServer:
    """Opens the server's parts in order, answers commands, and closes the parts."""

    def __init__(self, place: RigPlace) -> None:
        self._place = place
        self._started_ns = time.monotonic_ns()
        self._refusals = RefusalCounts(place.runtime / REFUSALS_NAME)
        self._fleet = Fleet.of(place.config)
        self._end = asyncio.Event()
        self._tasks = TaskSet()
        self._sessions = Sessions(place.storage, lambda node, what: self._board.tell(node, what))
        self._board = Switchboard(self._fleet, self._sessions)
        self._link = FleetLink(place, self._board.receive, self._refusals)
        self._announcer = Announcer(place.config.network)
        delivery = Delivery(self._fleet, self._announcer, self._board.tell)
        self._recorder = Recorder(place, self._fleet, self._sessions, delivery)
        self._supervisor = make_supervisor(place, self._refusals)
        self._service = ServiceManager()

    async def run(self) -> None:
        """Serve until told to end.

        Raises:
            EnvironmentLackError: a port cannot be had.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end.set)
        self._place.storage.mkdir(parents=True, exist_ok=True)
        try:
            await self._open()
            await self._end.wait()
        finally:
            await self._close()

    async def _open(self) -> None:
        server = self._place.config.server
        self._board.connect(self._link)
        self._link.open(server.listen, server.control_port)
        self._sessions.open_unsealed()
        await self._supervisor.open()
        self._commands = await open_command_server(
            self._place.runtime, server.operators_group, self._answer
        )
        self._recorder.resume()
        self._tasks.spawn(guard_storage(self._place, self._sessions.open_runs))
        self._tasks.spawn(feed(self._service, self._doing))
        self._service.ready()
        _log.info("serving rig %s as process %d", self._place.config.name, os.getpid())

    def _doing(self) -> str:
        run = self._sessions.current()
        return f"session {run.plan.session} records" if run else "no session runs"

    async def _close(self) -> None:
        self._service.stopping()
        await self._tasks.close()
        await self._supervisor.close()
        await self._recorder.close()
        await self._sessions.close()
        await self._board.close()
        await self._link.close()
        self._announcer.close()
        _log.info("ended; running segmenters go on")

    async def _answer(self, request: Request, progress: Progress) -> BaseModel:
        match request:
            case StartRequest():
                return await self._recorder.start(request, progress)
            case StopRequest():
                return await self._recorder.stop(progress)
            case StatusRequest():
                return self._status()
            case PreflightRequest():
                return await self._recorder.check()
            case ShutdownRequest():
                self._end.set()
                return Done(text="the manager's process ends")
            case _:
                assert_never(request)

    def _status(self) -> Status:
        numbers = session_numbers(self._place.storage)
        return status(
            self._place,
            self._fleet,
            self._shown_session(),
            self._refusals.read(),
            self._started_ns,
            numbers[-1] if numbers else 0,
        )

    def _shown_session(self) -> SessionRun | None:
        """The running session, else the newest that is still open."""
        newest = max(self._sessions.open_runs, default=0)
        return self._sessions.current() or self._sessions.open_runs.get(newest)


def make_supervisor(place: RigPlace, refusals: RefusalCounts) -> Supervisor:
    """The supervisor that rig.toml names."""
    if place.config.segmenter.supervisor == "systemd":
        return SystemdSupervisor(place)
    return LocalSupervisor(place, find_ffmpeg(place.config.segmenter.ffmpeg), refusals)


def serve(place: RigPlace) -> None:
    """Run the server; only one at a time per rig.

    Raises:
        RigError: another one runs.
        EnvironmentLackError: a port cannot be had, or FFmpeg is missing.
    """
    make_runtime(place.runtime, place.config.server.operators_group)
    with _only_one(place):
        asyncio.run(_run(place))


async def _run(place: RigPlace) -> None:
    await ControlServer(place).run()


@contextmanager
def _only_one(place: RigPlace) -> Iterator[None]:
    handle = os.open(place.runtime / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise RigError(
            f"a manager serves rig {place.config.name} already", hint="see: manager status"
        ) from error
    finally:
        os.close(handle)
