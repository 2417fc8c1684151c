"""The agent's children: one capture process and one worker per camera."""

import asyncio
import logging
import os
from collections.abc import Callable, Iterable
from fractions import Fraction
from multiprocessing.context import ForkServerProcess
from typing import Any

from capture_protocol.rig import NodeCamera, NodeConfig
from edge_agent.agent.paths import NodePaths
from edge_agent.camera import make_buffers, needs_buffers
from edge_agent.clock import Discipline
from edge_agent.process import (
    CaptureSetup,
    Channel,
    SessionOrder,
    StreamTarget,
    WorkerSetup,
    channel_pair,
    fork_server,
    start_child,
)

_RESTART_S = 0.3  # between the death of a worker and its successor
_RESTART_AGAIN_S = 3.0  # if it had not even lived so long
_log = logging.getLogger("edge_agent")

_CAPTURE = "edge_agent.capture:capture_main"
_WORKER = "edge_agent.stream:worker_main"
_MEGABYTE = 1_000_000


class Child:
    """A running process, its channel, and how we hear of its end."""

    def __init__(
        self,
        process: ForkServerProcess,
        channel: Channel,
        take: Callable[[Any], None],
        on_end: Callable[[], None],
    ) -> None:
        self.process = process
        self.channel = channel
        self._take = take
        self._on_end = on_end
        loop = asyncio.get_running_loop()
        self.started_s = loop.time()
        loop.add_reader(channel.fileno(), self._read)

    def _read(self) -> None:
        while (message := self.channel.receive()) is not None:
            self._take(message)
        if self.channel.closed:
            self.forget()
            self._on_end()

    def forget(self) -> None:
        """Stop listening to it."""
        asyncio.get_running_loop().remove_reader(self.channel.fileno())

    def reap(self, timeout_s: float) -> None:
        """Wait for its end, and end it if it does not come."""
        self.process.join(timeout_s)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.channel.close()


class Children:
    """Starts, restarts and ends the processes of one node.

    A worker that dies is started again and continues from the capture log and its spool. The
    death of the capture process cannot be repaired here: it is reported, and the agent ends.
    """

    def __init__(
        self,
        config: NodeConfig,
        paths: NodePaths,
        rig_key: bytes,
        take: Callable[[Any], None],
        on_capture_end: Callable[[], None],
        open_orders: Callable[[], list[SessionOrder]],
    ) -> None:
        self._config = config
        self._paths = paths
        self._rig_key = rig_key
        self._take = take
        self._on_capture_end = on_capture_end
        self._open_orders = open_orders
        self._context = fork_server()
        self._handles = {camera.name: _make_handles(camera) for camera in config.camera}
        self._capture: Child | None = None
        self._workers: dict[str, Child] = {}
        self._ending = False

    def start(self, idle_rate: Fraction, discipline: Discipline) -> None:
        """Start all of them."""
        logs = {camera.name: self._paths.log(camera.name, "capture") for camera in self._cameras}
        setup = CaptureSetup(self._config, self._paths.folder, logs, idle_rate, discipline)
        handles = [handle for camera in self._cameras for handle in self._handles[camera.name]]
        self._capture = self._start(_CAPTURE, setup, handles, self._on_capture_end)
        for camera in self._cameras:
            self._start_worker(camera)

    def to_capture(self, order: Any) -> None:
        """Give the capture process an order."""
        if self._capture is not None:
            self._capture.channel.send(order)

    def to_workers(self, order: Any) -> None:
        """Give all workers an order."""
        for child in self._workers.values():
            child.channel.send(order)

    def to_worker(self, camera: str, order: Any) -> None:
        """Give the worker of a camera an order."""
        if camera in self._workers:
            self._workers[camera].channel.send(order)

    def end(self, farewell: Any, timeout_s: float) -> None:
        """End all of them in good order."""
        self._ending = True
        for child in self._all():
            child.channel.send(farewell)
        for child in self._all():
            child.forget()
            child.reap(timeout_s)

    @property
    def _cameras(self) -> list[NodeCamera]:
        return self._config.camera

    def _all(self) -> Iterable[Child]:
        return [*([self._capture] if self._capture else []), *self._workers.values()]

    def _start(
        self,
        target: str,
        setup: Any,
        handles: list[int],
        on_end: Callable[[], None],
    ) -> Child:
        ours, theirs = channel_pair()
        process = start_child(self._context, target, setup, theirs, handles)
        return Child(process, ours, self._take, on_end)

    def _start_worker(self, camera: NodeCamera) -> None:
        if self._ending:
            return
        config, name = self._config, camera.name
        setup = WorkerSetup(
            config=camera,
            folder=self._paths.folder,
            capture_log=self._paths.log(name, "capture"),
            stream_log=self._paths.log(name, "stream"),
            spool_root=self._paths.spool,
            spool_limit_bytes=config.spool_limit_mb * _MEGABYTE // len(config.camera),
            target=StreamTarget(
                config.server,
                camera.stream_port,
                bytes.fromhex(config.rig_id),
                self._rig_key,
                camera.index,
            ),
            idle_close_s=config.idle_close_ms / 1000,
            orders=self._open_orders(),
        )
        child = self._start(
            _WORKER, setup, self._handles[name], lambda: self._on_worker_end(camera)
        )
        self._workers[name] = child

    def _on_worker_end(self, camera: NodeCamera) -> None:
        child = self._workers.pop(camera.name)
        child.reap(0)
        if not self._ending:
            loop = asyncio.get_running_loop()
            early = loop.time() - child.started_s < _RESTART_AGAIN_S
            delay_s = _RESTART_AGAIN_S if early else _RESTART_S
            _log.warning("the worker of %s has ended and is started again", camera.name)
            loop.call_later(delay_s, self._start_worker, camera)


def _make_handles(camera: NodeCamera) -> list[int]:
    """What capture process and worker of a camera share: a wake-up, and pictures if need be."""
    wake = os.eventfd(0, os.EFD_NONBLOCK)
    return [wake, make_buffers(camera)] if needs_buffers(camera) else [wake]
