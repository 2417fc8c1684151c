"""A sensor that runs on its own oscillator, as every Pi camera does."""

import math
from collections import deque

import numpy as np

from edge_agent.sensor.frame import Frame, Request
from edge_agent.sensor.modes import SensorMode
from edge_agent.sensor.physics import Losses, Oscillator, SensorPhysics, StampError

_DEFAULT_RATE_HZ = 30  # of a sensor that nobody has commanded yet


class FreeRunningSensor:
    """Free-running: line-quantised frames, late controls, jittery stamps, lost frames.

    A request that frame f fills is written to the sensor at the start of frame f + 1; its frame
    length and exposure hold from frame f + 1 + ``mode.vblank_delay`` on. The first frame starts
    at ``start_ns`` plus a phase of its own (by seed, within one frame). Deterministic by seed.
    """

    def __init__(
        self, mode: SensorMode, physics: SensorPhysics, *, seed: int, start_ns: int
    ) -> None:
        streams = np.random.SeedSequence(seed).spawn(4)
        oscillator, stamps, losses, phase = (np.random.default_rng(stream) for stream in streams)
        self.mode = mode
        self._oscillator = Oscillator(physics, oscillator)
        self._stamp_error = StampError(physics, stamps)
        self._losses = Losses(physics, losses)
        self._origin_ns = start_ns
        self._lines = mode.lines_of(1_000_000 // _DEFAULT_RATE_HZ)
        self._exposure_lines = max(1, self._lines // 4)
        self._start = phase.uniform(0.0, self._lines * mode.line_time_ns)
        self._sequence = 0
        self._requests: deque[Request] = deque()
        self._written: deque[tuple[int, Request]] = deque()
        self._ready: list[Frame] = []
        self._begin_frame()

    @property
    def queued(self) -> int:
        """Requests that no frame has filled yet."""
        return len(self._requests)

    @property
    def next_completion_ns(self) -> int:
        """When the frame in progress will be complete."""
        return self._complete_ns

    def queue_request(self, now_ns: int, request: Request) -> None:
        """Queue a request at an instant: frames that were complete before cannot fill it."""
        self._run(now_ns)
        self._requests.append(request)

    def advance(self, until_ns: int) -> list[Frame]:
        """Return the frames complete up to an instant that were not returned before."""
        self._run(until_ns)
        ready, self._ready = self._ready, []
        return ready

    def jump(self, offset_ns: int) -> None:
        """Shift the sensor's next frame start, as a brown-out or a restart would (a fault)."""
        self._start += offset_ns
        self._begin_frame()

    def _run(self, until_ns: int) -> None:
        while self._complete_ns <= until_ns:
            if self._requests and not self._losses.draw():
                self._deliver(self._requests.popleft())
            self._start += self._lines * self._line_time
            self._sequence += 1
            self._begin_frame()

    def _begin_frame(self) -> None:
        """Apply the controls that hold from this frame on."""
        while self._written and self._written[0][0] <= self._sequence:
            self._apply(self._written.popleft()[1])
        self._line_time = self.mode.line_time_ns * self._oscillator.advance(self._start)
        readout = self.mode.rows * self._line_time
        self._complete_ns = self._origin_ns + math.ceil(self._start + readout)

    def _apply(self, request: Request) -> None:
        mode = self.mode
        if request.limits is not None:
            self._lines = mode.lines_of(request.limits.min_us)
        if request.exposure_ns is not None:
            self._exposure_lines = max(1, int(request.exposure_ns // mode.line_time_ns))

    def _deliver(self, request: Request) -> None:
        mode = self.mode
        self._written.append((self._sequence + 1 + mode.vblank_delay, request))
        exposure_lines = min(self._exposure_lines, self._lines - mode.exposure_margin_lines)
        stamp = self._start + self._stamp_error.draw_ns()
        self._ready.append(
            Frame(
                sequence=self._sequence,
                cookie=request.cookie,
                frame_start_ns=self._origin_ns + round(stamp),
                exposure_ns=round(exposure_lines * mode.line_time_ns),
                frame_duration_ns=int(self._lines * mode.line_time_ns / 1_000) * 1_000,
                true_frame_start_ns=self._origin_ns + round(self._start),
                true_exposure_ns=round(exposure_lines * self._line_time),
                true_line_time_ns=self._line_time,
                complete_ns=self._complete_ns,
                mode=mode,
            )
        )
