"""What goes into a sensor and what comes out of it."""

from typing import NamedTuple

from edge_agent.sensor.modes import SensorMode


class FrameDurationLimits(NamedTuple):
    """libcamera's control of the same name: shortest and longest frame, integer µs."""

    min_us: int
    max_us: int


class Request(NamedTuple):
    """One capture request. Its controls take effect some frames after the frame that fills it."""

    limits: FrameDurationLimits | None = None
    """Frame duration to program; None leaves it as it is."""
    exposure_ns: int | None = None
    """Exposure time to program; None leaves it as it is."""
    cookie: int = 0
    """Free for the caller; comes back in the frame that the request is filled with."""


class Frame(NamedTuple):
    """One delivered frame. All instants are monotonic ns, durations ns."""

    sequence: int
    """Counts every frame the sensor read out; a gap is a lost frame."""
    cookie: int
    """Of the request that the frame fills."""
    frame_start_ns: int
    """Stamp of the frame start, as libcamera's SensorTimestamp: with interrupt jitter."""
    exposure_ns: int
    """Reported exposure time (nominal)."""
    frame_duration_ns: int
    """Reported (nominal) time from this frame's start to the next one's; whole µs."""
    true_frame_start_ns: int
    """When row 0 really began to be read out."""
    true_exposure_ns: int
    """How long a row was really exposed."""
    true_line_time_ns: float
    """How long a row really took."""
    complete_ns: int
    """When the last row was read out and the frame could be delivered."""
    mode: SensorMode

    def true_midpoint_ns(self, row: int, height: int) -> int:
        """Return the true exposure midpoint of a row of a picture that has ``height`` rows."""
        if self.mode.global_shutter:
            return self.true_frame_start_ns - self.true_exposure_ns // 2
        readout_ns = row / height * self.mode.rows * self.true_line_time_ns
        return self.true_frame_start_ns + round(readout_ns) - self.true_exposure_ns // 2
