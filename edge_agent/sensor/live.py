"""A simulated sensor in real time: the pure object behind the monotonic clock."""

import threading
import time
from typing import Protocol

from edge_agent.sensor.frame import Frame, Request

_IDLE_WAIT_S = 0.01  # a sensor without a frame in progress is looked at this often
_NS_PER_S = 1_000_000_000


class Sensor(Protocol):
    """What the free-running and the triggered sensor share."""

    @property
    def next_completion_ns(self) -> int | None:
        """When the frame in progress will be complete; None if there is none."""

    def queue_request(self, now_ns: int, request: Request) -> None:
        """Queue a request at an instant."""

    def advance(self, until_ns: int) -> list[Frame]:
        """Return the frames complete up to an instant."""


class LiveSensor:
    """Runs a sensor on CLOCK_MONOTONIC. One thread may queue requests while another waits."""

    def __init__(self, sensor: Sensor) -> None:
        self._sensor = sensor
        self._lock = threading.Lock()

    def queue_request(self, request: Request) -> int:
        """Queue a request now; return the instant, monotonic ns."""
        with self._lock:
            now_ns = time.monotonic_ns()
            self._sensor.queue_request(now_ns, request)
        return now_ns

    def wait(self, timeout_s: float) -> list[Frame]:
        """Sleep until at least one frame is complete, or the timeout; return what is complete."""
        deadline_ns = time.monotonic_ns() + int(timeout_s * _NS_PER_S)
        while True:
            now_ns = time.monotonic_ns()
            with self._lock:
                frames = self._sensor.advance(now_ns)
                next_ns = self._sensor.next_completion_ns
            if frames or now_ns >= deadline_ns:
                return frames
            wake_ns = now_ns + int(_IDLE_WAIT_S * _NS_PER_S) if next_ns is None else next_ns
            time.sleep(max(0, min(wake_ns, deadline_ns) - now_ns) / _NS_PER_S)
