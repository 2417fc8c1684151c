"""A USB camera through Video4Linux2: it runs freely, its frames carry the kernel's stamps."""

import threading
import time
from collections import deque
from collections.abc import Sequence
from fractions import Fraction

import av
import numpy as np
from av.video.frame import VideoFrame

from capture_protocol.frame import LockState
from capture_protocol.grid import Grid, parse_rate
from capture_protocol.rig import NodeCamera
from edge_agent.camera.buffers import PictureBuffers
from edge_agent.camera.contract import CameraError, CameraFrame
from edge_agent.camera.options import Options

_FORMAT = "v4l2"
_RETRY_S = 1.0
_PLAUSIBLE_NS = 1_000_000_000
"""A stamp further from now is not on CLOCK_MONOTONIC: some drivers count from elsewhere."""
_SETTLE_NS = 200_000_000  # USB transfer, decoding and the driver's own buffers
_READY = 32


class V4l2Camera:
    """Reads in a thread of its own, because V4L2 blocks; a camera that vanishes is reopened.

    A USB camera cannot be triggered or steered: its frames fall where they fall, and the slot is
    the nearest. `exposure_us` must say what the camera is set to. Options: ``input_format``
    (e.g. "mjpeg", "yuyv422"; empty: the driver's choice), ``rate`` (asked of the camera),
    ``sensor_delay_us`` (true frame start minus stamp), ``stamp_uncertainty_us`` (99 % bound).
    """

    shows_instant = False
    settle_ns = _SETTLE_NS
    next_due_ns = None
    lock_state = int(LockState.FREE)

    def __init__(self, config: NodeCamera, buffers: PictureBuffers) -> None:
        options = Options(config)
        input_format = options.take("input_format", "")
        rate = parse_rate(options.take("rate", "30"))
        self._sensor_delay_ns = options.take("sensor_delay_us", 0) * 1000
        self._stamp_uncertainty_ns = options.take("stamp_uncertainty_us", 10_000) * 1000
        options.finish()
        self._problem = ""  # while the camera is being opened again
        self._config = config
        self._period_ns = int(Fraction(1_000_000_000) / rate)
        self._settings = {
            "video_size": f"{config.width}x{config.height}",
            "framerate": str(rate),
            **({"input_format": input_format} if input_format else {}),
        }
        self._buffers = buffers
        self._number = 0
        self._ready: deque[CameraFrame] = deque(maxlen=_READY)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=config.name, daemon=True)
        self._container = self._open()
        self._thread.start()

    def follow(self, grid: Grid) -> None:
        """A free-running camera follows nothing."""

    def prepare(self, slot: int) -> None:
        """Nothing to choose."""

    def release(self, slot: int, now_ns: int) -> None:
        """The driver queues its buffers itself."""

    def frames(self, now_ns: int) -> Sequence[CameraFrame]:  # noqa: ARG002
        """See `Camera.frames`.

        Raises:
            CameraError: the camera is gone; it is being opened again.
        """
        if self._problem:
            raise CameraError(self._problem)
        taken = []
        while self._ready:
            taken.append(self._ready.popleft())
        return taken

    def close(self) -> None:
        """End the thread and release the device."""
        self._closing.set()
        self._thread.join(_RETRY_S)

    def _open(self) -> "av.container.InputContainer":
        device = self._config.device or "/dev/video0"
        try:
            return av.open(device, format=_FORMAT, options=self._settings)
        except (OSError, av.FFmpegError) as error:
            raise CameraError(
                f"camera {self._config.name}: {device} cannot be opened: {error}",
                hint="see what there is with: edge-agent cameras",
            ) from error

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                with self._container as container:
                    self._read(container)
                self._problem = "the camera has ended its stream"
            except (OSError, av.FFmpegError) as error:
                self._problem = f"the camera has failed: {error}"
            self._reopen()

    def _reopen(self) -> None:
        while not self._closing.wait(_RETRY_S):
            try:
                self._container = self._open()
            except CameraError as error:
                self._problem = str(error)
            else:
                self._problem = ""
                return

    def _read(self, container: "av.container.InputContainer") -> None:
        for frame in container.decode(video=0):
            if self._closing.is_set():
                return
            self._take(frame)

    def _take(self, frame: VideoFrame) -> None:
        arrived_ns = time.monotonic_ns()
        config = self._config
        width, height = config.width, config.height
        planes = frame.to_ndarray(format="yuv420p", width=width, height=height)
        self._number += 1
        self._buffers.write(self._number, np.asarray(planes, np.uint8))
        stamp_ns, uncertainty_ns = self._stamp(frame, arrived_ns)
        self._ready.append(
            CameraFrame(
                frame_start_ns=stamp_ns,
                exposure_ns=config.exposure_us * 1000,
                line_time_ns=0,
                rows=config.height,
                sequence=self._number & 0xFFFFFFFF,
                frame_duration_ns=self._period_ns,
                gain_milli=0,
                sensor_delay_ns=self._sensor_delay_ns,
                stamp_uncertainty_ns=uncertainty_ns,
                flags=0,
                picture=self._number,
            )
        )

    def _stamp(self, frame: VideoFrame, arrived_ns: int) -> tuple[int, int]:
        """The kernel's stamp, or the arrival where that is not on CLOCK_MONOTONIC."""
        if frame.pts is not None and frame.time_base is not None:
            stamp_ns = int(frame.pts * frame.time_base * 1_000_000_000)
            if abs(arrived_ns - stamp_ns) < _PLAUSIBLE_NS:
                return stamp_ns, self._stamp_uncertainty_ns
        return arrived_ns, self._stamp_uncertainty_ns + self._period_ns
