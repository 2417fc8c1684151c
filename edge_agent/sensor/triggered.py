"""A sensor whose exposure starts at a trigger (IMX296 with its XTR input, or a strobed camera)."""

import math
from collections import deque

import numpy as np

from edge_agent.sensor.frame import Frame, Request
from edge_agent.sensor.modes import SensorMode
from edge_agent.sensor.physics import Losses, Oscillator, SensorPhysics, StampError

_DEFAULT_EXPOSURE_NS = 5_000_000


class TriggeredSensor:
    """Exposes when a request is queued; a trigger that comes too early is lost with its request.

    The exposure of row 0 starts at the trigger, so frame start is trigger + exposure and the
    midpoint of row 0 is trigger + exposure / 2. Two triggers closer than the mode's shortest
    frame make one frame: ``missed`` counts the others.
    """

    def __init__(
        self, mode: SensorMode, physics: SensorPhysics, *, seed: int, start_ns: int
    ) -> None:
        streams = np.random.SeedSequence(seed).spawn(3)
        oscillator, stamps, losses = (np.random.default_rng(stream) for stream in streams)
        self.mode = mode
        self.missed = 0
        self._oscillator = Oscillator(physics, oscillator)
        self._stamp_error = StampError(physics, stamps)
        self._losses = Losses(physics, losses)
        self._origin_ns = start_ns
        self._earliest_trigger_ns = start_ns
        self._exposure_ns = _DEFAULT_EXPOSURE_NS
        self._sequence = 0
        self._pending: deque[Frame] = deque()

    @property
    def queued(self) -> int:
        """Frames that are exposed or read out and not yet returned."""
        return len(self._pending)

    @property
    def next_completion_ns(self) -> int | None:
        """When the oldest frame in progress will be complete; None if there is none."""
        return self._pending[0].complete_ns if self._pending else None

    def queue_request(self, now_ns: int, request: Request) -> None:
        """Trigger an exposure at an instant, with the request's exposure time if it has one."""
        if request.exposure_ns is not None:
            self._exposure_ns = request.exposure_ns
        if now_ns < self._earliest_trigger_ns:
            self.missed += 1
            return
        stretch = self._oscillator.advance(now_ns - self._origin_ns)
        self._earliest_trigger_ns = now_ns + math.ceil(self._shortest_ns() * stretch)
        if not self._losses.draw():
            self._pending.append(self._expose(now_ns, stretch, request))
        self._sequence += 1

    def advance(self, until_ns: int) -> list[Frame]:
        """Return the frames complete up to an instant that were not returned before."""
        ready = []
        while self._pending and self._pending[0].complete_ns <= until_ns:
            ready.append(self._pending.popleft())
        return ready

    def _shortest_ns(self) -> float:
        return max(self.mode.shortest_frame_ns, self._exposure_ns + self._margin_ns())

    def _margin_ns(self) -> float:
        return self.mode.exposure_margin_lines * self.mode.line_time_ns

    def _expose(self, trigger_ns: int, stretch: float, request: Request) -> Frame:
        exposure_ns = round(self._exposure_ns * stretch)
        start_ns = trigger_ns + exposure_ns
        line_time_ns = self.mode.line_time_ns * stretch
        return Frame(
            sequence=self._sequence,
            cookie=request.cookie,
            frame_start_ns=start_ns + round(self._stamp_error.draw_ns()),
            exposure_ns=self._exposure_ns,
            frame_duration_ns=int(self._shortest_ns() / 1_000) * 1_000,
            true_frame_start_ns=start_ns,
            true_exposure_ns=exposure_ns,
            true_line_time_ns=line_time_ns,
            complete_ns=start_ns + math.ceil(self.mode.rows * line_time_ns),
            mode=self.mode,
        )
