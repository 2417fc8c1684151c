"""What the capture process asks of a camera, and what it gets."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from capture_protocol.errors import EnvironmentLackError
from capture_protocol.grid import Grid


class CameraError(EnvironmentLackError):
    """A camera or its footage cannot be opened or read."""


class CameraFrame(NamedTuple):
    """A frame's own evidence. Instants are CLOCK_MONOTONIC in ns, durations ns."""

    frame_start_ns: int
    """Start of the first row's read-out, as the sensor's stamp says."""
    exposure_ns: int
    line_time_ns: int
    """0 for a global shutter."""
    rows: int
    sequence: int
    """The sensor's own frame counter."""
    frame_duration_ns: int
    """0 if unknown."""
    gain_milli: int
    sensor_delay_ns: int
    stamp_uncertainty_ns: int
    """Bound (99 %) of the stamp's error."""
    flags: int
    """`FrameFlag` bits that only the backend knows."""
    picture: int
    """Tells the worker which picture it is; an instant if `Camera.shows_instant`."""


class Camera(Protocol):
    """One camera. Nothing here may block for longer than a few hundred microseconds."""

    shows_instant: bool
    """Whether `CameraFrame.picture` is the true exposure midpoint (CLOCK_MONOTONIC ns)."""
    settle_ns: int
    """How long after Tn the frame of slot n may come: longest way through camera and queue."""

    def follow(self, grid: Grid) -> None:
        """Aim exposures at this grid on CLOCK_MONOTONIC from now on; cheap if it hardly moved."""

    def prepare(self, slot: int) -> None:
        """Get the request of a slot ready: called before Tn, while there is time."""

    def release(self, slot: int, now_ns: int) -> None:
        """Queue the prepared request: called at Tn."""

    def frames(self, now_ns: int) -> Sequence[CameraFrame]:
        """Frames complete by ``now_ns`` that were not returned before.

        Raises:
            CameraError: the camera gives none, and why; asked again later it may have recovered.
        """

    @property
    def next_due_ns(self) -> int | None:
        """When the next frame will be complete; None if that is not known."""

    @property
    def lock_state(self) -> int:
        """`LockState` of the genlock."""

    def close(self) -> None:
        """Release the device."""
