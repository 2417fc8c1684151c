"""Entry of the capture process."""

import contextlib
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from capture_protocol.errors import TuttiError
from capture_protocol.rig import NodeConfig
from edge_agent.camera import open_camera
from edge_agent.capture.loop import CaptureLoop
from edge_agent.capture.realtime import take_rights
from edge_agent.capture.timer import ReleaseTimer
from edge_agent.capture.track import CameraTrack
from edge_agent.clock import Discipline, read_discipline
from edge_agent.eventlog import RingWriter
from edge_agent.process import (
    Channel,
    EndSession,
    Problem,
    SessionOrder,
    Shutdown,
    die_with_parent,
)


@dataclass(frozen=True, slots=True)
class CaptureSetup:
    """What the capture process has to know."""

    config: NodeConfig
    folder: Path
    """Where node.toml lies."""
    logs: dict[str, Path]
    """Capture log of each camera."""
    idle_rate: Fraction


def capture_main(setup: CaptureSetup, end: socket.socket, wakes: list[int]) -> None:
    """Run until told to shut down, or until the agent is gone.

    Args:
        setup: see there.
        end: this side of the channel to the agent.
        wakes: one eventfd per camera, in order of the config.
    """
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the agent ends us in good order
    channel = Channel(end)
    try:
        loop = _make_loop(setup, channel, wakes)
    except (TuttiError, OSError) as error:
        channel.send(Problem(str(error), getattr(error, "hint", "")))
        return
    with contextlib.closing(loop):
        while _obey(loop, channel):
            loop.cycle()


def _make_loop(setup: CaptureSetup, channel: Channel, wakes: list[int]) -> CaptureLoop:
    config = setup.config
    tracks = [
        CameraTrack(
            camera.index,
            camera.name,
            open_camera(camera, setup.folder),
            RingWriter(setup.logs[camera.name]),
            wake,
        )
        for camera, wake in zip(config.camera, wakes, strict=True)
    ]
    rights = take_rights(config.realtime)
    return CaptureLoop(
        tracks,
        ReleaseTimer(config.realtime.spin_us),
        setup.idle_rate,
        _discipline_reader(config.clock),
        channel.send,
        str(rights),
    )


def _discipline_reader(expected: str) -> Callable[[], Discipline]:
    return lambda: read_discipline(expected)


def _obey(loop: CaptureLoop, channel: Channel) -> bool:
    """Carry out the orders that have come; False when it is time to end."""
    while (order := channel.receive()) is not None:
        if isinstance(order, SessionOrder):
            loop.begin(order)
        elif isinstance(order, EndSession):
            loop.end(order)
        elif isinstance(order, Shutdown):
            return False
    return not channel.closed
