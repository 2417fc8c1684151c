"""The picamera backend: requests at the release, the sensor steered by the genlock."""

import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from typing import Any, NamedTuple, Protocol

from capture_protocol.grid import Grid
from edge_agent.camera.contract import CameraError, CameraFrame
from edge_agent.genlock import Command, Genlock
from edge_agent.picamera.board import BufferPool
from edge_agent.picamera.metadata import Delivered, FrameCounter, StampClock, read_facts
from edge_agent.sensor import FrameDurationLimits, SensorMode

QUEUE_DEPTH = 4
"""Requests kept ahead. At 30 fps a stall of 130 ms loses no frame; more would make the genlock
slower, whose commands travel with the requests."""
_POLL_NS = 500_000
"""An overdue frame is looked for this often."""
_SILENT_NS = 5_000_000_000
"""A camera that fills no request for so long hangs; a first frame takes about one second."""
_MAX_U32 = 0xFFFFFFFF


class Device(Protocol):
    """What is needed of a camera: see `PicameraDevice`."""

    @property
    def ranges(self) -> Mapping[str, Any]:
        """Controls that the camera knows: name → (least, greatest, default)."""

    def start(self, controls: Mapping[str, Any]) -> None:
        """Let the sensor run."""

    def stop(self) -> None:
        """Stop it."""

    def queue(self, index: int, limits: FrameDurationLimits) -> None:
        """Queue a request."""

    def completed(self) -> list[Delivered]:
        """Requests that came back."""

    def close(self) -> None:
        """Give the camera back."""


class Traits(NamedTuple):
    """What a camera is and how it shall be run."""

    name: str
    mode: SensorMode
    exposure_us: int
    gain: float
    """Analogue gain, 0: automatic."""
    sensor_delay_ns: int
    """The sensor's constant from stamp to true frame start."""
    flags: int
    """`FrameFlag` bits of every frame."""
    played_exposure_ns: int
    """Exposure of a sensor that is only played, and of which libcamera reports none; else 0."""

    def controls(self, known: Mapping[str, Any], period_ns: int) -> dict[str, Any]:
        """libcamera's controls at the start, as far as the camera knows them.

        Exposure is fixed: automatic exposure would move the midpoint. libcamera's own
        synchronisation would fight the genlock.
        """
        period_us = period_ns // 1000
        wanted = {
            "AeEnable": False,
            "ExposureTime": self.exposure_us,
            "AnalogueGain": self.gain,
            "SyncMode": 0,
            "FrameDurationLimits": (period_us, period_us),
        }
        return {name: value for name, value in wanted.items() if name in known}


class Observed(NamedTuple):
    """A frame as the genlock wants it (`ObservedFrame`)."""

    sequence: int
    cookie: int
    frame_start_ns: int
    exposure_ns: int
    frame_duration_ns: int


class PicameraCamera:
    """One camera: a free-running sensor behind a queue of requests that never runs empty."""

    shows_instant = False

    def __init__(
        self, device: Device, traits: Traits, pool: BufferPool, resources: ExitStack
    ) -> None:
        """Take over an opened device; ``resources`` are closed after it."""
        self._device, self._traits, self._pool = device, traits, pool
        self._resources = resources
        self._mode = _within_limits(traits.mode, device.ranges.get("FrameDurationLimits"))
        self._line_time_ns = 0 if self._mode.global_shutter else round(self._mode.line_time_ns)
        self._rate = Fraction(0)
        self._queued: deque[tuple[int, int]] = deque()
        self._running = False
        self.settle_ns = 0

    def follow(self, grid: Grid) -> None:
        """See `Camera.follow`; another rate restarts the sensor.

        Raises:
            HeadroomError: the sensor mode cannot be steered at this rate.
            CameraError: the camera does not start.
        """
        if grid.rate == self._rate:
            self._grid = grid
            return
        genlock = Genlock(self._mode, grid.rate)
        self._stop()
        self._genlock, self._grid, self._rate = genlock, grid, grid.rate
        self._counter = FrameCounter(grid.period_ns)
        self._clock: StampClock | None = None
        self._command: Command | None = None
        self._silent = False
        self._lag_ns = grid.period_ns
        self._last_stamp_ns = self._polled_ns = 0
        self._alive_ns: int | None = None
        self.settle_ns = (QUEUE_DEPTH + 2) * grid.period_ns
        self._device.start(self._traits.controls(self._device.ranges, grid.period_ns))
        self._running = True

    def prepare(self, slot: int) -> None:  # noqa: ARG002
        """See `Camera.prepare`: the genlock chooses the frame length of the next request."""
        if self._silent:
            self._genlock.coast()
        self._silent = True
        if self._command is None:
            self._command = self._genlock.command()

    def release(self, slot: int, now_ns: int) -> None:  # noqa: ARG002
        """See `Camera.release`; after a stall the queue is filled up to its depth again."""
        while self._command is not None and len(self._queued) < QUEUE_DEPTH:
            buffer = self._pool.take()
            if buffer is None:
                return
            self._device.queue(buffer, self._command.limits)
            self._queued.append((buffer, self._command.cookie))
            short = len(self._queued) < QUEUE_DEPTH
            self._command = self._genlock.command() if short else None

    def frames(self, now_ns: int) -> Sequence[CameraFrame]:
        """See `Camera.frames`.

        Raises:
            CameraError: the camera hangs, or gives frames without a usable time stamp.
        """
        self._polled_ns = now_ns
        delivered = self._device.completed()
        if delivered or not self._queued or self._alive_ns is None:
            self._alive_ns = now_ns
        elif now_ns - self._alive_ns > _SILENT_NS:
            raise CameraError(
                f"camera {self._traits.name} has given no frame for "
                f"{_SILENT_NS // 1_000_000_000} s",
                hint="look at its cable and at: dmesg | grep -iE 'csi|imx|unicam|rp1-cfe'",
            )
        return [self._take(frame, now_ns) for frame in delivered]

    @property
    def next_due_ns(self) -> int | None:
        """See `Camera.next_due_ns`: a period after the last one, or soon if it is overdue."""
        due_ns = self._last_stamp_ns + self._grid.period_ns + self._lag_ns
        return max(due_ns, self._polled_ns + _POLL_NS)

    @property
    def lock_state(self) -> int:
        """See `Camera.lock_state`."""
        return self._genlock.state

    @property
    def missed(self) -> int:
        """Frames that the sensor read out while no request was queued, or that got lost."""
        return self._counter.missed

    @property
    def stamp_clock(self) -> str:
        """The clock of SensorTimestamp, empty before the first frame."""
        return self._clock.name if self._clock else ""

    def close(self) -> None:
        """See `Camera.close`."""
        self._stop()
        self._device.close()
        self._resources.close()

    def _stop(self) -> None:
        if self._running:
            self._device.stop()
        self._running = False
        while self._queued:
            self._pool.give_back(self._queued.popleft()[0])

    def _take(self, delivered: Delivered, now_ns: int) -> CameraFrame:
        """Number the picture, and turn libcamera's metadata into evidence."""
        facts = read_facts(delivered.metadata)
        stamp_ns = facts.stamp_ns + self._recognise(facts.stamp_ns, now_ns)
        sequence = self._counter.count(stamp_ns, delivered.sequence, facts.frame_duration_ns)
        picture = self._pool.publish(delivered.request)
        cookie = self._forget(delivered.request)
        self._last_stamp_ns = stamp_ns
        self._lag_ns = min(self._lag_ns, max(now_ns - stamp_ns, 0))
        self._silent = False
        exposure_ns = facts.exposure_ns or self._traits.played_exposure_ns
        observed = Observed(sequence, cookie, stamp_ns, exposure_ns, facts.frame_duration_ns)
        return self._evidence(observed, facts.gain_milli, picture)

    def _evidence(self, observed: Observed, gain_milli: int, picture: int) -> CameraFrame:
        grid, traits = self._grid, self._traits
        slot = grid.nearest_slot(self._genlock.midpoint_ns(observed) + traits.sensor_delay_ns)
        target_ns = grid.time_ns(slot) - traits.sensor_delay_ns
        report = self._genlock.observe(observed, target_ns)
        return CameraFrame(
            frame_start_ns=report.frame_start_ns,
            exposure_ns=observed.exposure_ns,
            line_time_ns=self._line_time_ns,
            rows=self._mode.rows,
            sequence=observed.sequence & _MAX_U32,
            frame_duration_ns=observed.frame_duration_ns,
            gain_milli=gain_milli,
            sensor_delay_ns=traits.sensor_delay_ns,
            stamp_uncertainty_ns=min(round(report.uncertainty_ns), _MAX_U32),
            flags=traits.flags,
            picture=picture,
        )

    def _forget(self, index: int) -> int:
        """Drop a filled request, and those before it that never came back; return its cookie."""
        while self._queued:
            buffer, cookie = self._queued.popleft()
            if buffer == index:
                return cookie
            self._pool.give_back(buffer)
        raise CameraError(f"camera {self._traits.name} filled a request that was not queued")

    def _recognise(self, stamp_ns: int, now_ns: int) -> int:
        """What to add to stamps to get CLOCK_MONOTONIC; found out from the first one."""
        if self._clock is None:
            ahead_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns()
            self._clock = StampClock.recognise(stamp_ns, now_ns, now_ns + ahead_ns)
        return self._clock.to_monotonic_ns


def _within_limits(mode: SensorMode, limits: tuple[int, int, Any] | None) -> SensorMode:
    """The mode, narrowed to the frame durations (µs) that libcamera allows in it."""
    if limits is None:
        return mode
    least_us, greatest_us = limits[0], limits[1]
    shortest = max(mode.shortest_lines, round(least_us * 1000 / mode.line_time_ns))
    longest = min(mode.longest_lines, int(greatest_us * 1000 / mode.line_time_ns))
    return replace(mode, shortest_lines=shortest, longest_lines=max(longest, shortest))
