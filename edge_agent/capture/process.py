"""Entry of the capture process."""

import contextlib
import signal
import socket
from collections.abc import Iterator

from capture_protocol.errors import TuttiError
from capture_protocol.rig import NodeCamera
from edge_agent.camera import CameraError, needs_buffers, open_camera
from edge_agent.capture.loop import CaptureLoop
from edge_agent.capture.realtime import take_rights
from edge_agent.capture.timer import ReleaseTimer
from edge_agent.capture.track import CameraTrack
from edge_agent.clock import Discipline
from edge_agent.eventlog import RingWriter
from edge_agent.process import (
    CaptureSetup,
    Channel,
    EndSession,
    Problem,
    SessionOrder,
    Shutdown,
    die_with_parent,
)


def capture_main(setup: CaptureSetup, end: socket.socket, handles: list[int]) -> None:
    """Run until told to shut down, or until the agent is gone.

    Args:
        setup: see there.
        end: this side of the channel to the agent.
        handles: per camera, in order of the config, an eventfd to wake its worker with and,
            if it `needs_buffers`, a memfd for its pictures.
    """
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the agent ends us in good order
    channel = Channel(end)
    try:
        loop = _make_loop(setup, channel, handles)
    except (TuttiError, OSError) as error:
        channel.send(Problem(str(error), getattr(error, "hint", "")))
        return
    with contextlib.closing(loop):
        try:
            while _obey(loop, channel):
                loop.cycle()
        except CameraError as error:
            channel.send(Problem(str(error), error.hint))


def _make_loop(setup: CaptureSetup, channel: Channel, handles: list[int]) -> CaptureLoop:
    config = setup.config
    given = iter(handles)
    tracks = [_make_track(setup, camera, given) for camera in config.camera]
    rights = take_rights(config.realtime)
    loop = CaptureLoop(
        tracks,
        ReleaseTimer(config.realtime.spin_us),
        setup.idle_rate,
        channel.send,
        str(rights),
    )
    loop.note_discipline(setup.discipline)
    return loop


def _make_track(setup: CaptureSetup, config: NodeCamera, handles: Iterator[int]) -> CameraTrack:
    wake = next(handles)
    buffers = next(handles) if needs_buffers(config) else None
    camera = open_camera(config, setup.folder, buffers, setup.config.sensor_mode)
    return CameraTrack(config.index, config.name, camera, RingWriter(setup.logs[config.name]), wake)


def _obey(loop: CaptureLoop, channel: Channel) -> bool:
    """Carry out the orders that have come; False when it is time to end."""
    while (order := channel.receive()) is not None:
        if isinstance(order, SessionOrder):
            loop.begin(order)
        elif isinstance(order, EndSession):
            loop.end(order)
        elif isinstance(order, Discipline):
            loop.note_discipline(order)
        elif isinstance(order, Shutdown):
            return False
    return not channel.closed
