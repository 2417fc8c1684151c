"""Starting a child from the fork server: quick, little memory, and safe beside threads."""

import importlib
import socket
from collections.abc import Sequence
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext, ForkServerProcess
from multiprocessing.forkserver import ensure_running
from typing import Any

from edge_agent.process.channel import Channel

_PRELOAD = "edge_agent.process.preload"


class InheritedFd:
    """A file descriptor on its way to a child: sockets travel, so it rides on one.

    `multiprocessing` hands over descriptors while a process starts; `detach` in the child gives
    the number that it has there.
    """

    def __init__(self, number: int) -> None:
        from multiprocessing.reduction import DupFd

        self._duplicate = DupFd(number)

    def detach(self) -> int:
        """The descriptor in this process, which owns it from here on."""
        return int(self._duplicate.detach())


def fork_server() -> ForkServerContext:
    """The server that children are forked from, started if it is not running yet.

    It imports what children need, once, and in parallel to its caller: start it early.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload(["__main__", _PRELOAD])
    ensure_running()
    return context


def start_child(
    context: ForkServerContext,
    target: str,
    setup: Any,
    child_end: Channel,
    handles: Sequence[int],
) -> ForkServerProcess:
    """Start a child; our copy of its channel's end is closed.

    Args:
        context: of `fork_server`.
        target: ``"module:function"``, called with (setup, socket, handles). A name, because the
            agent itself has no use for what the module imports.
        setup: any picklable object.
        child_end: the child's end of its channel.
        handles: file descriptors that the child gets duplicates of.
    """
    process = context.Process(target=_run, args=(target, setup, child_end.socket, _Fds(handles)))
    process.start()
    child_end.close()
    return process


class _Fds:
    """Descriptors, duplicated at the moment of pickling (only then a child is being started)."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self._numbers = numbers

    def __reduce__(self) -> tuple[Any, ...]:
        return _receive, ([InheritedFd(number) for number in self._numbers],)


def _receive(carried: list[InheritedFd]) -> list[int]:
    return [each.detach() for each in carried]


def _run(target: str, setup: Any, end: socket.socket, handles: list[int]) -> None:
    module, _, name = target.partition(":")
    getattr(importlib.import_module(module), name)(setup, end, handles)
