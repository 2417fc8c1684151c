"""libcamera's `virtual` pipeline as a camera: the real stack on a machine without a sensor.

Three things that a Pi's camera has and this one lacks are supplied: buffers from plain memory
instead of a DMA heap, a sensor mode, and time. The pipeline fills a request as soon as it is
queued and ignores FrameDurationLimits, so a request is held back until a sensor that runs freely
on its own oscillator would start a frame. That sensor has a global shutter: it is played to have
exposed for `exposure_us` up to its frame start. All of its frames are marked as simulated.
"""

import mmap
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from edge_agent.sensor import FrameDurationLimits, SensorMode

VBLANK_DELAY = 2
"""Frames from a length's frame to the frame that has it, as on IMX219 and IMX296."""
_LINE_US = 50
"""Step of the frame length: a thread wakes to some tens of µs, a finer line would promise more."""
_LATE_NS = 4_000_000
"""A quarter of a frame at 60 Hz, the pipeline's fastest."""
_US = 1_000


def virtual_mode(width: int, height: int, shortest_us: int) -> SensorMode:
    """The mode of a virtual camera: all rows at once."""
    shortest_lines = -(-shortest_us // _LINE_US)
    return SensorMode(
        name=f"virtual-{width}",
        width=width,
        rows=min(height, shortest_lines),
        line_time_ns=float(_LINE_US * _US),
        shortest_lines=shortest_lines,
        vblank_delay=VBLANK_DELAY,
        longest_lines=20_000,
        global_shutter=True,
    )


def programmed_ns(limits: FrameDurationLimits) -> int:
    """The frame length for these limits: whole lines, floored as libcamera does."""
    return limits.min_us // _LINE_US * _LINE_US * _US


class FrameClock:
    """When a free-running sensor starts its frames: pure, told the commands, asked for times."""

    def __init__(self, start_ns: int, period_ns: int, ppm: float) -> None:
        self._stretch = 1 + ppm * 1e-6
        self._coming_ns = deque([period_ns] * (VBLANK_DELAY + 1))
        self.start_ns = float(start_ns)

    def advance(self, length_ns: int | None) -> None:
        """Go to the next frame; ``length_ns`` is what the frame's request commands, if any."""
        self._coming_ns.append(self._coming_ns[-1] if length_ns is None else length_ns)
        self.start_ns += self._coming_ns.popleft() * self._stretch


class Pacer:
    """Queues each request on the real camera at a frame start of a free-running sensor."""

    def __init__(self, queue: Callable[[Any], Any], period_ns: int, ppm: float) -> None:
        """Args: the camera's `queue_request`, the first frames' length, the oscillator's error."""
        self._queue = queue
        self._waiting: deque[tuple[Any, FrameDurationLimits]] = deque()
        self._clock = FrameClock(time.monotonic_ns(), period_ns, ppm)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="virtual-sensor", daemon=True)
        self._thread.start()

    def submit(self, request: Any, limits: FrameDurationLimits) -> None:
        """Keep a request for the next free frame."""
        self._waiting.append((request, limits))

    def close(self) -> None:
        """Stop the sensor."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            wait_ns = self._clock.start_ns - time.monotonic_ns()
            if wait_ns > 0:
                time.sleep(wait_ns / 1e9)
            self._clock.advance(self._expose())

    def _expose(self) -> int | None:
        """Let the frame fill the oldest request; its length, None if the frame is lost.

        A thread that wakes too late loses the frame, as a sensor would that was not served: an
        exposure at another instant is nothing that a sensor does.
        """
        late_ns = time.monotonic_ns() - self._clock.start_ns
        if not self._waiting or late_ns > _LATE_NS or self._stopping.is_set():
            return None
        request, limits = self._waiting.popleft()
        self._queue(request)
        return programmed_ns(limits)


class PacedSubmit:
    """Runs a `Pacer` while the camera runs: made with the first request after a start."""

    def __init__(self, picam2: Any, ppm: float) -> None:
        self._picam2 = picam2
        self._ppm = ppm
        self._pacer: Pacer | None = None
        self._stop = picam2.stop
        picam2.stop = self.stop

    def __call__(self, request: Any, limits: FrameDurationLimits) -> None:
        """See `device.Submit`."""
        if self._pacer is None:
            camera = self._picam2.camera
            self._pacer = Pacer(camera.queue_request, programmed_ns(limits), self._ppm)
        self._pacer.submit(request, limits)

    def stop(self) -> None:
        """Stop the sensor, then the camera."""
        if self._pacer is not None:
            self._pacer.close()
            self._pacer = None
        self._stop()


class MemoryAllocator:
    """picamera2's allocator interface on memfds: the virtual camera writes them by CPU.

    The pipeline cuts every wish down to 4 buffers, although it takes requests with any number of
    them; so the number is given here.
    """

    def __init__(self, count: int = 0) -> None:
        self._count = count
        self.sync = _Sync
        self.mapped_buffers: dict[Any, mmap.mmap] = {}
        self._buffers: dict[Any, list[Any]] = {}
        self._fds: list[int] = []

    def allocate(self, libcamera_config: Any, _use_case: Any) -> None:
        """Allocate the buffers of all streams of a configuration."""
        self.close()
        for stream in libcamera_config:
            count = self._count or stream.buffer_count
            self._buffers[stream.stream] = [self._allocate(stream) for _ in range(count)]

    def buffers(self, stream: Any) -> list[Any]:
        """The buffers of a stream."""
        return self._buffers[stream]

    def acquire(self, buffers: Any) -> None:
        """Nothing is counted: buffers live as long as the configuration."""

    def release(self, buffers: Any) -> None:
        """See `acquire`."""

    def close(self) -> None:
        """Free all buffers."""
        for fd in self._fds:
            os.close(fd)
        self._fds, self._buffers, self.mapped_buffers = [], {}, {}

    def _allocate(self, stream: Any) -> Any:
        import libcamera

        fd = os.memfd_create("virtual-camera")
        os.ftruncate(fd, stream.frame_size)
        self._fds.append(fd)
        luma = stream.stride * stream.size.height
        planes = []
        for offset, length in ((0, luma), (luma, stream.frame_size - luma)):
            plane = libcamera.FrameBuffer.Plane()
            plane.fd, plane.offset, plane.length = fd, offset, length
            planes.append(plane)
        buffer = libcamera.FrameBuffer(planes)
        self.mapped_buffers[buffer] = mmap.mmap(fd, stream.frame_size)
        return buffer


class _Sync:
    """Memory needs no synchronisation with a device."""

    def __init__(self, allocator: MemoryAllocator, buffer: Any, _write: bool) -> None:
        self._map = allocator.mapped_buffers[buffer]

    def __enter__(self) -> mmap.mmap:
        return self._map

    def __exit__(self, *_: object) -> None:
        return None


def open_virtual(number: int, buffers: int) -> Any:
    """A `Picamera2` with so many buffers on a camera of the virtual pipeline."""
    import libcamera
    from picamera2 import Picamera2, picamera2

    def modes(self: Any) -> list[dict[str, Any]]:
        """The pipeline has no raw stream to take the modes from."""
        viewfinder = self.camera.generate_configuration([libcamera.StreamRole.Viewfinder])
        formats = viewfinder.at(0).formats
        return [
            {"format": str(pixel_format), "size": (size.width, size.height)}
            for pixel_format in formats.pixel_formats
            for size in formats.sizes(pixel_format)
        ]

    picamera2.DmaAllocator = MemoryAllocator  # made anew by `close`, also without a DMA heap
    camera_class = type("VirtualPicamera2", (Picamera2,), {"_get_raw_modes": modes})
    return camera_class(number, allocator=MemoryAllocator(buffers))
