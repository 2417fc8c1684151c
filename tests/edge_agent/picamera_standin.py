"""A stand-in for picamera2 and libcamera, at their documented interface, on a virtual clock.

Behind it runs the simulated sensor. What it keeps of the real ones: requests are filled in the
order they were queued, controls travel with requests, `_requests` is filled under its lock and a
byte is written to a non-blocking pipe for each, a completed request must be released (with its
buffers' syncs closed) and reused before it is queued again.
"""

import os
import sys
import threading
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from edge_agent.sensor import FrameDurationLimits, FreeRunningSensor, Request, SensorPhysics
from edge_agent.sensor import sensor_mode as table_mode

STRIDE_ALIGN = 64
PIPE_BYTES = 4096
OTHER_IDENT = "/base/axi/pcie@1000120000/rp1/i2c@80000/imx219@10"


class Control:
    def __init__(self, name: str) -> None:
        self.name = name


class Controls:
    """libcamera's namespace of control ids: one object per name."""

    def __init__(self) -> None:
        self._known: dict[str, Control] = {}

    def __getattr__(self, name: str) -> Control:
        return self._known.setdefault(name, Control(name))


CONTROLS = Controls()
PROPERTIES = Controls()


class LibcameraRequest:
    def __init__(self, stream: object, buffer: Any) -> None:
        self.buffers = {stream: buffer}
        self.metadata: dict[Control, Any] = {}
        self.controls: dict[Control, Any] = {}
        self.status = "pending"

    def set_control(self, control: Control, value: Any) -> None:
        if self.status != "pending":
            raise RuntimeError("a completed request must be reused before its controls are set")
        self.controls[control] = value

    def reuse(self) -> None:
        self.status, self.controls, self.metadata = "pending", {}, {}


class CompletedRequest:
    def __init__(self, request: LibcameraRequest, picam2: "Picamera2") -> None:
        self.request: LibcameraRequest | None = request
        self.stop_count = picam2.stop_count
        self._picam2 = picam2
        picam2.syncs_open += 1

    def release(self) -> None:
        picam2 = self._picam2
        if self.stop_count == picam2.stop_count and picam2.started:
            raise AssertionError("picamera2 would queue this request again by itself")
        picam2.syncs_open -= 1
        self.request = None


class Picamera2:
    """One camera; `world` says which and how it behaves."""

    world: "World"

    @classmethod
    def global_camera_info(cls) -> list[dict[str, Any]]:
        """In picamera2's order, which its numbers count; "Num" is libcamera's own."""
        return [
            {"Num": 1, "Model": cls.world.model, "Id": cls.world.ident},
            {"Num": 0, "Model": "imx219", "Id": OTHER_IDENT},
        ]

    def __init__(self, number: int) -> None:
        world = self.world
        world.opened.append(self)
        self.id = self.global_camera_info()[number]["Id"]
        self.camera_properties = {"Model": world.model, "PipelineHandler": "rpi/pisp"}
        self.sensor_modes = [{"size": (2304, 1296), "bit_depth": 10, "format": "SRGGB10_CSI2P"}]
        self.stop_count, self.started, self.closed, self.syncs_open = 0, False, False, 0
        self._requests: list[CompletedRequest] = []
        self._requestslock = threading.Lock()
        reader, self.notifyme_w = os.pipe2(os.O_NONBLOCK)
        self.notifymeread = os.fdopen(reader, "rb")
        import fcntl

        fcntl.fcntl(self.notifyme_w, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self.camera = self
        self.queued: list[LibcameraRequest] = []
        self._buffers: list[Any] = []
        self.limits: list[tuple[int, int]] = []

    @property
    def camera_controls(self) -> dict[str, tuple[Any, Any, Any]]:
        names = ("AeEnable", "ExposureTime", "AnalogueGain", "SyncMode")
        return dict.fromkeys(names, (0, 1, 0)) | {
            "FrameDurationLimits": (*self.world.duration_limits_us, 33_333)
        }

    def create_video_configuration(self, **wish: Any) -> dict[str, Any]:
        return wish

    def configure(self, configuration: dict[str, Any]) -> None:
        main = dict(configuration["main"])
        width, height = main["size"]
        stride = -(-width // STRIDE_ALIGN) * STRIDE_ALIGN
        main |= {"stride": stride, "framesize": stride * height * 3 // 2}
        self.camera_config = {**configuration, "main": main}
        self.stream_map = {"main": object()}
        buffers = min(configuration["buffer_count"], self.world.most_buffers)
        self._buffers = [self._make_buffer(main) for _ in range(buffers)]
        self.allocator = SimpleNamespace(buffers=lambda stream: self._buffers)

    def _make_buffer(self, main: dict[str, Any]) -> Any:
        fd = os.memfd_create("standin")
        os.ftruncate(fd, main["framesize"])
        return SimpleNamespace(
            planes=[SimpleNamespace(fd=fd)], metadata=SimpleNamespace(sequence=0)
        )

    def _make_requests(self) -> list[LibcameraRequest]:
        return [LibcameraRequest(self.stream_map["main"], buffer) for buffer in self._buffers]

    def set_controls(self, controls: dict[str, Any]) -> None:
        self.start_controls = controls

    def start(self, show_preview: object) -> None:
        if show_preview is not None:
            raise AssertionError("an event loop would take the requests")
        if self.world.refuses:
            raise RuntimeError("Failed to start camera: Device or resource busy")
        self.started = True
        self.sensor = self.world.make_sensor()
        for request in self._make_requests():
            self.queue_request(request)

    def stop(self) -> None:
        self.started = False
        self.stop_count += 1
        self.queued.clear()
        self._requests = []

    def close(self) -> None:
        self.closed = True
        for buffer in self._buffers:
            os.close(buffer.planes[0].fd)
        self._buffers = []

    def queue_request(self, request: LibcameraRequest) -> None:
        limits = request.controls.get(CONTROLS.FrameDurationLimits)
        self.limits.append(limits)
        self.queued.append(request)
        command = FrameDurationLimits(*limits) if limits else None
        exposure_ns = self.start_controls["ExposureTime"] * 1000
        self.sensor.queue_request(self.world.now_ns, Request(command, exposure_ns))

    def run(self, now_ns: int) -> None:
        """Complete what the sensor has filled by now, as picamera2's camera thread does."""
        self.world.now_ns = now_ns
        if not self.started or self.world.hangs:
            return
        for frame in self.sensor.advance(now_ns):
            request = self.queued.pop(0)
            (buffer,) = request.buffers.values()
            buffer.metadata.sequence += 1
            picture = np.full(self.camera_config["main"]["framesize"], frame.sequence % 251, "u1")
            os.pwrite(buffer.planes[0].fd, picture.tobytes(), 0)
            stamps = {} if self.world.unstamped else {"SensorTimestamp": frame.frame_start_ns}
            values = stamps | {
                "ExposureTime": frame.exposure_ns // 1000,
                "FrameDuration": frame.frame_duration_ns // 1000,
                "AnalogueGain": 2.5,
            }
            request.metadata = {getattr(CONTROLS, name): value for name, value in values.items()}
            if "SensorTimestamp" in values:
                stamp = CONTROLS.SensorTimestamp
                request.metadata[stamp] += self.world.boottime_ahead_ns
            request.status = "complete"
            with self._requestslock:
                self._requests.append(CompletedRequest(request, self))
            os.write(self.notifyme_w, b"\0")


class World:
    """The machine: its camera, its clock, its faults."""

    def __init__(self, now_ns: int, physics: SensorPhysics | None = None) -> None:
        self.now_ns = now_ns
        self.physics = physics or SensorPhysics(ppm=20.0)
        self.model, self.ident = "imx708_wide", "/base/axi/pcie@1000120000/rp1/i2c@88000/imx708@1a"
        self.duration_limits_us = (17_850, 220_416_802)
        self.boottime_ahead_ns = 0
        self.most_buffers = 32
        self.unstamped = self.hangs = self.refuses = False
        self.opened: list[Picamera2] = []

    def make_sensor(self) -> FreeRunningSensor:
        mode = table_mode("imx708-2304")
        return FreeRunningSensor(mode, self.physics, seed=7, start_ns=self.now_ns)


def install(monkeypatch: Any, world: World) -> None:
    """Put the stand-ins where ``import picamera2`` and ``import libcamera`` find them."""
    pipeline = {PROPERTIES.PipelineHandler: "rpi/pisp"}
    manager = SimpleNamespace(get=lambda ident: SimpleNamespace(properties=pipeline))
    libcamera = ModuleType("libcamera")
    libcamera.controls, libcamera.properties = CONTROLS, PROPERTIES  # type: ignore[attr-defined]
    libcamera.CameraManager = SimpleNamespace(  # type: ignore[attr-defined]
        singleton=lambda: manager
    )
    picamera2 = ModuleType("picamera2")
    picamera2.Picamera2 = type("Picamera2", (Picamera2,), {"world": world})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "libcamera", libcamera)
    monkeypatch.setitem(sys.modules, "picamera2", picamera2)
