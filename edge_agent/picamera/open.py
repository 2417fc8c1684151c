"""Opening a camera by node.toml, through picamera2."""

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from capture_protocol.errors import EnvironmentLackError, InputError
from capture_protocol.frame import FrameFlag
from capture_protocol.rig import NodeCamera
from edge_agent.camera.contract import CameraError
from edge_agent.camera.options import Options
from edge_agent.picamera.board import Board, BufferPool
from edge_agent.picamera.camera import QUEUE_DEPTH, PicameraCamera, Traits
from edge_agent.picamera.codec import has_hardware_encoder, wants_hardware
from edge_agent.picamera.device import PicameraDevice, Submit
from edge_agent.picamera.handover import HandoverServer, Layout, socket_name
from edge_agent.picamera.modes import choose_mode
from edge_agent.picamera.virtual import PacedSubmit, open_virtual, virtual_mode
from edge_agent.sensor import SensorMode

_DEFAULT_BUFFERS = 12
"""Some are queued ahead, the others may wait for the encoder (8 of 12: 0.27 s at 30 fps). With
large pictures on a Pi 4, fewer save contiguous memory."""
_LEAST_BUFFERS = QUEUE_DEPTH + 4
_VIRTUAL = "virtual"  # libcamera's name of its pipeline without hardware
_PPM_SPREAD = (12.0, -18.0, 25.0, -7.0)  # virtual sensors: no two agree by nature


class _Wish(NamedTuple):
    """The backend's options."""

    mode: str
    buffers: int
    gain: float
    delay_us: float
    ppm: float


def list_cameras() -> list[tuple[int, str, str]]:
    """Number, sensor model and libcamera id of every camera of this machine.

    The number is picamera2's and rpicam-apps', which differs from libcamera's own order.

    Raises:
        EnvironmentLackError: picamera2 or libcamera is not installed.
    """
    found = _picamera2().global_camera_info()
    return [(number, info.get("Model", "unknown"), info["Id"]) for number, info in enumerate(found)]


def open_picamera(
    config: NodeCamera, folder: Path, modes: dict[str, SensorMode] | None = None
) -> PicameraCamera:
    """Open a Pi camera.

    ``device`` is its number or libcamera id (empty: the only one). Options: ``mode`` (of the
    sensor table or of ``modes``, the rig's own; default: the smallest that holds the picture),
    ``buffers``, ``gain`` (analogue; 0: automatic), ``delay_us`` (sensor's constant from stamp
    to frame start), ``encoder`` (see `edge_agent.picamera.codec`), ``ppm`` (virtual cameras only:
    oscillator error).

    Raises:
        EnvironmentLackError: picamera2 or libcamera is not installed.
        CameraError: there is no such camera, or it cannot be configured.
        InputError: an option is wrong.
    """
    wish = _read_options(config)
    number, model, ident = _find(config)
    picam2 = _open(number, ident, wish.buffers)
    virtual = picam2.camera_properties.get("PipelineHandler") == _VIRTUAL
    try:
        choose = partial(choose_mode, model, wish.mode, more=modes)
        mode = _configure(picam2, config, wish, choose, virtual=virtual)
        submit = PacedSubmit(picam2, wish.ppm) if virtual else None
        return _assemble(picam2, config, folder, wish, mode, submit)
    except (RuntimeError, ValueError, OSError) as error:
        picam2.close()
        raise CameraError(f"camera {config.name} cannot be configured: {error}") from error
    except (CameraError, InputError):
        picam2.close()
        raise


def _assemble(
    picam2: Any,
    config: NodeCamera,
    folder: Path,
    wish: _Wish,
    mode: SensorMode,
    submit: Submit | None,
) -> PicameraCamera:
    import libcamera

    device = PicameraDevice(picam2, libcamera.controls.FrameDurationLimits, submit)
    _require_size(device.layout, config)
    buffers = device.buffers
    if len(buffers) < wish.buffers:
        raise CameraError(
            f"camera {config.name}: libcamera gives {len(buffers)} buffers instead of "
            f"{wish.buffers}",
            hint=f"set the option buffers to {len(buffers)}, but at least {_LEAST_BUFFERS}",
        )
    with ExitStack() as resources:
        board = Board(os.memfd_create(f"pictures-{config.name}"), len(buffers))
        resources.callback(board.close)
        name = socket_name(folder, config.name)
        handover = HandoverServer(name, device.layout, [board.fd, *buffers])
        resources.callback(handover.close)
        kept = resources.pop_all()
    pool = BufferPool(board, first_number=time.time_ns())
    traits = Traits(
        name=config.name,
        mode=mode,
        exposure_us=config.exposure_us,
        gain=wish.gain,
        sensor_delay_ns=round(wish.delay_us * 1000),
        flags=int(FrameFlag.NONE if submit is None else FrameFlag.SIMULATED),
        played_exposure_ns=0 if submit is None else config.exposure_us * 1000,
    )
    return PicameraCamera(device, traits, pool, kept)


def _read_options(config: NodeCamera) -> _Wish:
    options = Options(config)
    wish = _Wish(
        mode=options.take("mode", ""),
        buffers=options.take("buffers", _DEFAULT_BUFFERS),
        gain=options.take("gain", 1.0),
        delay_us=options.take("delay_us", 0.0),
        ppm=options.take("ppm", _PPM_SPREAD[config.index % len(_PPM_SPREAD)]),
    )
    options.take("encoder", "auto")
    options.finish()
    wants_hardware(config, has_hardware_encoder())  # a wrong choice shows now, not in the worker
    if wish.buffers < _LEAST_BUFFERS:
        raise InputError(
            f"camera {config.name}: option buffers must be at least {_LEAST_BUFFERS}",
            hint=f"{QUEUE_DEPTH} of them are queued ahead, the others may wait for the encoder",
        )
    return wish


def _picamera2() -> Any:
    try:
        from picamera2 import Picamera2
    except ImportError as error:
        raise EnvironmentLackError(
            f"picamera2 is not usable here: {error}",
            hint="on a Pi: sudo apt install python3-picamera2, and make the agent's venv with "
            "--system-site-packages",
        ) from error
    return Picamera2


def _find(config: NodeCamera) -> tuple[int, str, str]:
    cameras = list_cameras()
    wanted = config.device
    fitting = [camera for camera in cameras if wanted in ("", str(camera[0]), camera[2])]
    if len(fitting) == 1:
        return fitting[0]
    seen = "; ".join(f"{number}: {model} {ident}" for number, model, ident in cameras) or "none"
    fault = f"no camera {wanted!r}" if wanted else "several cameras, and `device` names none"
    raise CameraError(
        f"camera {config.name}: {fault if cameras else 'libcamera finds no camera'}",
        hint=f"cameras here: {seen}",
    )


def _open(number: int, ident: str, buffers: int) -> Any:
    import libcamera

    properties = libcamera.CameraManager.singleton().get(ident).properties
    pipeline = properties.get(libcamera.properties.PipelineHandler, "")
    try:
        if pipeline == _VIRTUAL:
            return open_virtual(number, buffers)
        return _picamera2()(number)
    except RuntimeError as error:
        raise CameraError(
            f"camera {number} cannot be opened: {error}",
            hint="is another program using it? see: sudo fuser /dev/media*",
        ) from error


def _configure(
    picam2: Any,
    config: NodeCamera,
    wish: _Wish,
    choose: Callable[[int, int], SensorMode],
    *,
    virtual: bool,
) -> SensorMode:
    size = (config.width, config.height)
    stream = {"size": size, "format": "NV12" if virtual else "YUV420"}
    if virtual:
        shortest_us = picam2.camera_controls["FrameDurationLimits"][0]
        mode = virtual_mode(config.width, config.height, shortest_us)
        picam2.configure(picam2.create_video_configuration(main=stream, buffer_count=wish.buffers))
        return mode
    mode = choose(config.width, config.height)
    sensor = {"output_size": (mode.width, mode.rows), "bit_depth": _bit_depth(picam2, mode)}
    picam2.configure(
        picam2.create_video_configuration(
            main=stream, raw=None, sensor=sensor, buffer_count=wish.buffers
        )
    )
    return mode


def _bit_depth(picam2: Any, mode: SensorMode) -> int:
    depths = [
        int(offered["bit_depth"])
        for offered in picam2.sensor_modes
        if tuple(offered["size"]) == (mode.width, mode.rows)
    ]
    if not depths:
        raise CameraError(
            f"libcamera offers no mode of {mode.width}x{mode.rows} for {mode.name}",
            hint="see: rpicam-hello --list-cameras",
        )
    return max(depths)


def _require_size(layout: Layout, config: NodeCamera) -> None:
    if (layout.width, layout.height) != (config.width, config.height):
        raise CameraError(
            f"camera {config.name}: libcamera gives {layout.width}x{layout.height} instead of "
            f"{config.width}x{config.height}",
            hint="ask for that size in rig.toml",
        )
