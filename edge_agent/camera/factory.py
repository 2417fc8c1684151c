"""Which class drives which backend; each is imported only where it is used."""

import os
from collections.abc import Sequence
from pathlib import Path

from capture_protocol.rig import NodeCamera, SensorModeSection
from edge_agent.camera.contract import Camera, CameraError
from edge_agent.sensor import own_modes

PICTURES = 8
"""A worker that is more than seven pictures behind loses some: 0.23 s at 30 fps."""
NUMBER_SIZE = 8


def needs_buffers(config: NodeCamera) -> bool:
    """Whether pictures reach the worker through shared memory (real cameras)."""
    return config.backend == "v4l2"


def buffers_size(config: NodeCamera) -> int:
    """Bytes of a camera's `PictureBuffers`: I420 pictures, each behind its number."""
    return PICTURES * (NUMBER_SIZE + config.height * config.width * 3 // 2)


def make_buffers(config: NodeCamera) -> int:
    """A memfd for `PictureBuffers`; it has no name that another process could open."""
    handle = os.memfd_create(f"pictures-{config.name}")
    os.ftruncate(handle, buffers_size(config))
    return handle


def open_camera(
    config: NodeCamera,
    folder: Path,
    buffers: int | None = None,
    sensor_modes: Sequence[SensorModeSection] = (),
) -> Camera:
    """Open a camera as its node.toml describes it.

    Args:
        config: the camera's section.
        folder: where node.toml lies; relative paths start there.
        buffers: memfd for its pictures if the backend `needs_buffers`.
        sensor_modes: the rig's own, beside those of the table.

    Raises:
        CameraError: the device or file cannot be opened.
        InputError: an option of the backend is wrong.
    """
    if config.backend == "simulated":
        from edge_agent.camera.simulated import open_simulated

        return open_simulated(config, own_modes(sensor_modes))
    if config.backend == "file":
        from edge_agent.camera.file import FileCamera

        return FileCamera(config, folder)
    if config.backend == "picamera":
        from edge_agent.picamera import open_picamera

        return open_picamera(config, folder, own_modes(sensor_modes))
    if config.backend == "v4l2" and buffers is not None:
        from edge_agent.camera.buffers import PictureBuffers
        from edge_agent.camera.v4l2 import V4l2Camera

        return V4l2Camera(config, PictureBuffers(buffers, config))
    raise CameraError(
        f"camera {config.name}: backend {config.backend!r} is not available on this machine",
        hint="list what there is with: edge-agent cameras",
    )
