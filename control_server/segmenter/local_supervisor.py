"""The embedded supervisor: asyncio in the manager's process answers all ports."""

import asyncio
import contextlib
import errno
import logging
import socket

from capture_protocol import EnvironmentLackError, TuttiError
from capture_protocol.handshake import TIMEOUT_S, HandshakeError
from control_server.refusals import RefusalCounts
from control_server.rig.place import RigPlace
from control_server.segmenter.admission import Admission, Desk, Flow, shake_hands
from control_server.segmenter.part_run import PartRun, open_part, prepare_socket
from control_server.task_set import TaskSet

MAX_WAITING = 64
"""Peers that may be in the handshake at once; more are turned away, so that nobody can fill the
server with connections that never say HELLO."""
BACKLOG = 16
RETRY_S = 0.5
"""Pause after the system refused to accept (no file descriptors left)."""
_log = logging.getLogger(__name__)


class LocalSupervisor:
    """One listening socket per camera; each admitted connection becomes an FFmpeg's stdin."""

    def __init__(self, place: RigPlace, ffmpeg: str, refusals: RefusalCounts) -> None:
        self._place = place
        self._ffmpeg = ffmpeg
        self._refusals = refusals
        self._listeners: list[socket.socket] = []
        self._doors = TaskSet()
        self._visits = TaskSet()

    async def open(self) -> None:
        """See `Supervisor.open`."""
        server = self._place.config.server
        for index, _, _ in self._place.config.cameras():
            self._listeners.append(listen(server.listen, server.stream_port + index))
        for index, listener in enumerate(self._listeners):
            self._doors.spawn(self._answer(listener, index))

    async def close(self) -> None:
        """See `Supervisor.close`."""
        await self._doors.close()
        await self._visits.close()
        for listener in self._listeners:
            listener.close()

    async def _answer(self, listener: socket.socket, camera: int) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, peer = await loop.sock_accept(listener)
            except OSError as error:
                _log.warning("cannot accept a stream connection: %s", error)
                await asyncio.sleep(RETRY_S)
                continue
            if len(self._visits) >= MAX_WAITING:
                connection.close()
                self._refusals.add("crowded")
                continue
            self._visits.spawn(self._visit(connection, f"{peer[0]}:{peer[1]}", camera))

    async def _visit(self, connection: socket.socket, peer: str, camera: int) -> None:
        with connection:
            try:
                prepare_socket(connection)
                desk = Desk(self._place, camera, self._refusals)
                admission = await drive(connection, shake_hands(desk))
            except (TimeoutError, OSError, HandshakeError) as error:
                _log.debug("no stream from %s: %s", peer, error)
            except TuttiError as error:
                _log.error("stream connection from %s: %s", peer, error)
            else:
                await self._start(connection, admission, peer)

    async def _start(self, connection: socket.socket, admission: Admission, peer: str) -> None:
        try:
            with open_part(self._ffmpeg, admission, peer) as run:
                connection.setblocking(True)
                process = await start_ffmpeg(run, connection)
                run.note_process(process.pid)
        except (OSError, TuttiError) as error:
            _log.error("camera %s: cannot start FFmpeg: %s", admission.camera, error)
            return
        _log.info("camera %s: %s streams to FFmpeg %d", admission.camera, peer, process.pid)


async def start_ffmpeg(run: PartRun, connection: socket.socket) -> asyncio.subprocess.Process:
    """Start a part's FFmpeg in a session of its own: it outlives the manager."""
    with run.log.open("ab") as log:
        return await asyncio.create_subprocess_exec(
            *run.arguments,
            cwd=run.folder,
            stdin=connection.fileno(),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=log,
            pass_fds=(run.lock,),
            start_new_session=True,
        )


async def drive(connection: socket.socket, flow: Flow) -> Admission:
    """Run a handshake on a non-blocking socket, reading not one byte more than it asks for.

    Raises:
        TimeoutError: the peer is silent.
        HandshakeError: the peer hung up, or was refused.
    """
    loop = asyncio.get_running_loop()
    with contextlib.closing(flow):
        step = next(flow)
        try:
            while True:
                async with asyncio.timeout(TIMEOUT_S):
                    if isinstance(step, int):
                        step = flow.send(await _read_exactly(loop, connection, step))
                    else:
                        await loop.sock_sendall(connection, step)
                        step = next(flow)
        except StopIteration as done:
            admission: Admission = done.value
            return admission


async def _read_exactly(
    loop: asyncio.AbstractEventLoop, connection: socket.socket, size: int
) -> bytes:
    data = b""
    while len(data) < size:
        more = await loop.sock_recv(connection, size - len(data))
        if not more:
            raise HandshakeError("the peer hung up during the handshake")
        data += more
    return data


def listen(address: str, port: int) -> socket.socket:
    """A non-blocking listening socket.

    Raises:
        EnvironmentLackError: the address or the port cannot be had.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
    except OSError as error:
        listener.close()
        raise EnvironmentLackError(
            f"cannot listen on {address} port {port}: {error.strerror}", hint=port_hint(error)
        ) from error
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


def port_hint(error: OSError) -> str:
    """What to do about a port that cannot be had."""
    if error.errno == errno.EADDRINUSE:
        return "another program uses it: end that, or give the rig other ports in rig.toml"
    return "correct server.listen in rig.toml: it must be an address of this machine"
