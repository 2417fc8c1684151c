"""The simulated camera: a sensor with real physics, in real time, under the real genlock."""

import time
from collections.abc import Callable, Sequence
from fractions import Fraction

from capture_protocol.errors import InputError
from capture_protocol.frame import FrameFlag, LockState
from capture_protocol.grid import Grid
from capture_protocol.rig import NodeCamera
from edge_agent.camera.contract import Camera, CameraFrame
from edge_agent.camera.hanging import HangingCamera
from edge_agent.camera.kernel_time import KernelTime
from edge_agent.camera.options import Options
from edge_agent.genlock import Genlock
from edge_agent.sensor import (
    Frame,
    FreeRunningSensor,
    Request,
    SensorMode,
    SensorPhysics,
    TriggeredSensor,
    sensor_mode,
)

_DEFAULT_MODE = "imx708-2304"
_QUEUE_DEPTH = 6
"""Requests kept ahead: at 30 fps a stall of 200 ms loses no frame (50 ms is ordinary here)."""
_PPM_SPREAD = (0, 12, -8, 20, -15, 5, -20, 9)
"""Default oscillator errors by camera index, so that no two simulated cameras agree by nature."""


def open_simulated(config: NodeCamera, modes: dict[str, SensorMode] | None = None) -> Camera:
    """A simulated camera of the kind that the options name.

    Options: ``mode`` (of the sensor table, or of ``modes``: the rig's own), ``trigger`` ("free" or
    "hardware"), ``seed``, and the fields of `SensorPhysics`: ``ppm``, ``wander_ppm``,
    ``stamp_noise_ns``, ``tail_probability``, ``tail_ns``, ``drop_probability``.

    ``true_time``: whose time the optical clock shows, "node" (the node's own UTC: all that a lone
    machine can know), or "kernel" where the node lives by a simulated clock (see `KernelTime`).
    ``hang_at_slot``: from the release of this slot on it gives no frame any more, until the agent
    is started anew.

    Raises:
        InputError: an option is unknown or has an impossible value.
    """
    options = Options(config)
    mode = sensor_mode(options.take("mode", _DEFAULT_MODE), modes)
    trigger = options.take("trigger", "free")
    seed = options.take("seed", config.index)
    ppm = float(_PPM_SPREAD[config.index % len(_PPM_SPREAD)])
    defaults = SensorPhysics(ppm=ppm)
    physics = SensorPhysics(
        **{name: options.take(name, getattr(defaults, name)) for name in vars(defaults)}
    )
    true_time = options.take("true_time", "node")
    hang_at_slot = options.take("hang_at_slot", -1)
    options.finish()
    if true_time not in ("node", "kernel"):
        raise InputError(f"camera {config.name}: true_time is 'node' or 'kernel'")
    truth = KernelTime() if true_time == "kernel" else None
    exposure_ns = config.exposure_us * 1000
    if trigger not in _TRIGGERS:
        raise InputError(f"camera {config.name}: trigger is 'free' or 'hardware', not {trigger!r}")
    camera = _TRIGGERS[trigger](mode, physics, seed, exposure_ns, truth)
    return camera if hang_at_slot < 0 else HangingCamera(camera, hang_at_slot)


class FreeRunningCamera:
    """A sensor that runs on its own oscillator and is steered onto the grid by the genlock."""

    def __init__(
        self,
        mode: SensorMode,
        physics: SensorPhysics,
        seed: int,
        exposure_ns: int,
        truth: KernelTime | None = None,
    ) -> None:
        self._truth = truth
        self.shows_instant = truth is None
        self._mode, self._physics, self._seed = mode, physics, seed
        self._exposure_ns = exposure_ns
        self._line_time_ns = _line_time_ns(mode)
        self._rate = Fraction(0)
        self.settle_ns = 0

    def follow(self, grid: Grid) -> None:
        """See `Camera.follow`; another rate restarts the sensor, as it does on a real camera.

        Raises:
            HeadroomError: the sensor mode cannot be steered at this rate.
        """
        self._grid = grid
        if grid.rate == self._rate:
            return
        self._genlock = Genlock(self._mode, grid.rate)
        self._rate = grid.rate
        now_ns = time.monotonic_ns()
        self._sensor = FreeRunningSensor(
            self._mode, self._physics, seed=self._seed, start_ns=now_ns
        )
        self._silent = False
        self._request: Request | None = None
        self.settle_ns = (_QUEUE_DEPTH + 2) * grid.period_ns

    def prepare(self, slot: int) -> None:  # noqa: ARG002
        """See `Camera.prepare`: the genlock chooses the frame length."""
        if self._silent:
            self._genlock.coast()
        self._silent = True
        if self._request is None:
            self._request = self._next_request()

    def release(self, slot: int, now_ns: int) -> None:  # noqa: ARG002
        """See `Camera.release`; after a stall the queue is filled up to its depth again.

        A lost frame fills no request, so none is added for it: a longer queue would delay the
        genlock's commands for good.
        """
        while self._request is not None and self._sensor.queued < _QUEUE_DEPTH:
            self._sensor.queue_request(now_ns, self._request)
            short = self._sensor.queued < _QUEUE_DEPTH
            self._request = self._next_request() if short else None

    def frames(self, now_ns: int) -> Sequence[CameraFrame]:
        """See `Camera.frames`."""
        return [self._observe(frame) for frame in self._sensor.advance(now_ns)]

    @property
    def next_due_ns(self) -> int | None:
        """See `Camera.next_due_ns`."""
        return self._sensor.next_completion_ns

    @property
    def lock_state(self) -> int:
        """See `Camera.lock_state`."""
        return self._genlock.state

    def close(self) -> None:
        """Nothing to release."""

    def _next_request(self) -> Request:
        command = self._genlock.command()
        return Request(command.limits, self._exposure_ns, command.cookie)

    def _observe(self, frame: Frame) -> CameraFrame:
        self._silent = False
        grid = self._grid
        slot = grid.nearest_slot(self._genlock.midpoint_ns(frame))
        report = self._genlock.observe(frame, grid.time_ns(slot))
        return CameraFrame(
            frame_start_ns=report.frame_start_ns,
            exposure_ns=frame.exposure_ns,
            line_time_ns=self._line_time_ns,
            rows=self._mode.rows,
            sequence=frame.sequence & 0xFFFFFFFF,
            frame_duration_ns=frame.frame_duration_ns,
            gain_milli=1000,
            sensor_delay_ns=0,
            stamp_uncertainty_ns=min(round(report.uncertainty_ns), 0xFFFFFFFF),
            flags=FrameFlag.SIMULATED,
            picture=_shown_ns(frame, self._truth),
        )


class TriggeredCamera:
    """A camera with a trigger input whose delay is programmed, so that midpoints fall on Tn.

    The trigger must come before Tn by half the exposure and half the read-out: the release of
    slot n therefore arms the trigger of slot n + 1.
    """

    def __init__(
        self,
        mode: SensorMode,
        physics: SensorPhysics,
        seed: int,
        exposure_ns: int,
        truth: KernelTime | None = None,
    ) -> None:
        self._truth = truth
        self.shows_instant = truth is None
        self._mode, self._exposure_ns = mode, exposure_ns
        self._sensor = TriggeredSensor(mode, physics, seed=seed, start_ns=time.monotonic_ns())
        self._line_time_ns = _line_time_ns(mode)
        self._stamp_uncertainty_ns = round(3 * physics.stamp_noise_ns)
        self._lead_ns = exposure_ns + round(mode.midpoint_offset_ns(exposure_ns))
        self.settle_ns = 0

    def follow(self, grid: Grid) -> None:
        """See `Camera.follow`."""
        self._grid = grid
        self.settle_ns = 3 * grid.period_ns

    def prepare(self, slot: int) -> None:
        """Nothing to choose."""

    def release(self, slot: int, now_ns: int) -> None:
        """See `Camera.release`; a trigger whose instant has passed is not given."""
        trigger_ns = self._grid.time_ns(slot + 1) - self._lead_ns
        if trigger_ns >= now_ns:
            self._sensor.queue_request(trigger_ns, Request(exposure_ns=self._exposure_ns))

    def frames(self, now_ns: int) -> Sequence[CameraFrame]:
        """See `Camera.frames`."""
        return [self._evidence(frame) for frame in self._sensor.advance(now_ns)]

    @property
    def next_due_ns(self) -> int | None:
        """See `Camera.next_due_ns`."""
        return self._sensor.next_completion_ns

    @property
    def lock_state(self) -> int:
        """A triggered exposure is on the grid by construction."""
        return LockState.LOCKED

    def close(self) -> None:
        """Nothing to release."""

    def _evidence(self, frame: Frame) -> CameraFrame:
        return CameraFrame(
            frame_start_ns=frame.frame_start_ns,
            exposure_ns=frame.exposure_ns,
            line_time_ns=self._line_time_ns,
            rows=self._mode.rows,
            sequence=frame.sequence & 0xFFFFFFFF,
            frame_duration_ns=frame.frame_duration_ns,
            gain_milli=1000,
            sensor_delay_ns=0,
            stamp_uncertainty_ns=self._stamp_uncertainty_ns,
            flags=FrameFlag.SIMULATED,
            picture=_shown_ns(frame, self._truth),
        )


_TRIGGERS: dict[str, Callable[..., Camera]] = {
    "free": FreeRunningCamera,
    "hardware": TriggeredCamera,
}


def _shown_ns(frame: Frame, truth: KernelTime | None) -> int:
    midpoint_ns = frame.true_midpoint_ns(1, 2)
    return midpoint_ns if truth is None else truth.real_ns(midpoint_ns)


def _line_time_ns(mode: SensorMode) -> int:
    return 0 if mode.global_shutter else round(mode.line_time_ns)
