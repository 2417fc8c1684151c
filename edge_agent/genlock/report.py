"""What goes into a genlock and what comes out of it."""

from typing import NamedTuple, Protocol

from capture_protocol.frame import LockState
from edge_agent.sensor import FrameDurationLimits


class ObservedFrame(Protocol):
    """What the genlock needs of a delivered frame; times in ns, stamps monotonic."""

    @property
    def sequence(self) -> int:
        """Sensor frame number; gaps are lost frames."""

    @property
    def cookie(self) -> int:
        """Cookie of the command whose request this frame fills."""

    @property
    def frame_start_ns(self) -> int:
        """Stamp of the frame start."""

    @property
    def exposure_ns(self) -> int:
        """Exposure time of this frame."""

    @property
    def frame_duration_ns(self) -> int:
        """Nominal time to the next frame start; 0 if the camera does not tell."""


class Command(NamedTuple):
    """What to put into the next request."""

    cookie: int
    """Identifies the command; the frame that fills the request must bring it back."""
    limits: FrameDurationLimits
    """Both limits are equal: exactly one frame length is allowed."""
    lines: int
    """The same frame length in lines."""


class PhaseReport(NamedTuple):
    """What is known about one frame's place on the grid."""

    state: LockState
    phase_error_ns: float
    """Estimated exposure midpoint of the middle row minus the nearest Tn."""
    uncertainty_ns: float
    """Bound (99 %) of that estimate's error; a constant latency of the stamps cannot be seen."""
    frame_start_ns: int
    """Estimated frame start: the stamp without its jitter."""
    midpoint_ns: int
    """Estimated exposure midpoint of the middle row, monotonic."""
    outlier: bool
    """The stamp was too far from the prediction to be believed."""
    rate_ppm: float
    """How much slower than nominal the sensor runs, against the monotonic clock."""
