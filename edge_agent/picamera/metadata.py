"""What libcamera's metadata says of a frame, in this project's units."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from edge_agent.camera.contract import CameraError

_LONGEST_WAY_NS = 2_000_000_000
"""A first frame is younger than this when it comes out of the pipeline."""
_READ_BEFORE_NS = 50_000_000
"""The clocks may have been read so long before the frame arrived."""
_SAME_CLOCK_NS = 1_000_000
"""Two clocks that differ by less agree: the difference is the time between the readings."""


class Delivered(NamedTuple):
    """A completed request."""

    request: int
    """Which request, and so which buffer."""
    sequence: int
    """The buffer's sequence number as libcamera counts it; it may restart at any time."""
    metadata: Mapping[str, Any]
    """libcamera's metadata by control name."""


class FrameFacts(NamedTuple):
    """Times in ns; `stamp_ns` is on the clock of SensorTimestamp."""

    stamp_ns: int
    exposure_ns: int
    """0 if the camera does not report it."""
    frame_duration_ns: int
    """0 if the camera does not report it."""
    gain_milli: int
    """0 if the camera does not report it."""


def read_facts(metadata: Mapping[str, Any]) -> FrameFacts:
    """The facts in a request's metadata (controls of libcamera's `control_ids_core.yaml`).

    Raises:
        CameraError: there is no SensorTimestamp, without which a frame proves nothing.
    """
    stamp = metadata.get("SensorTimestamp")
    if not stamp:
        raise CameraError(
            "the camera gives frames without SensorTimestamp",
            hint="use a camera whose libcamera pipeline stamps frames; USB cameras may not",
        )
    return FrameFacts(
        stamp_ns=int(stamp),
        exposure_ns=int(metadata.get("ExposureTime", 0)) * 1000,
        frame_duration_ns=int(metadata.get("FrameDuration", 0)) * 1000,
        gain_milli=round(float(metadata.get("AnalogueGain", 0.0)) * 1000),
    )


@dataclass(frozen=True, slots=True)
class StampClock:
    """Which clock SensorTimestamp is read from.

    libcamera documents CLOCK_BOOTTIME, picamera2 compares it with CLOCK_MONOTONIC. They agree
    until the machine has been suspended, so it is found out from the first frame.
    """

    name: str
    to_monotonic_ns: int
    """What to add to a stamp to get CLOCK_MONOTONIC."""

    @classmethod
    def recognise(cls, stamp_ns: int, monotonic_ns: int, boottime_ns: int) -> "StampClock":
        """The clock of a stamp, from both clocks read when its frame arrived.

        Raises:
            CameraError: the stamp is of neither clock.
        """
        ahead_ns = boottime_ns - monotonic_ns
        if -_READ_BEFORE_NS <= monotonic_ns - stamp_ns < _LONGEST_WAY_NS:
            return cls("CLOCK_MONOTONIC", 0)
        if -_READ_BEFORE_NS <= boottime_ns - stamp_ns < _LONGEST_WAY_NS:
            return cls("CLOCK_BOOTTIME", -ahead_ns if ahead_ns > _SAME_CLOCK_NS else 0)
        raise CameraError(
            f"SensorTimestamp {stamp_ns} is neither of CLOCK_MONOTONIC ({monotonic_ns}) nor of "
            f"CLOCK_BOOTTIME ({boottime_ns})",
            hint="this libcamera pipeline stamps frames by another clock: it cannot be used",
        )


class FrameCounter:
    """Numbers every frame that the sensor read out, also those that were never delivered.

    Where time between two stamps is a whole number of frames it decides: libcamera's own
    sequence may count only what the image processor saw, and it may restart. Where it is not
    (stamps that jump), the sequence does.
    """

    _CLEAR_PERIODS = 0.25

    def __init__(self, period_ns: int) -> None:
        self._period_ns = period_ns
        self._number = 0
        self._stamp_ns: int | None = None
        self._reported = 0
        self._duration_ns = 0
        self.missed = 0
        """Frames that the sensor read out and nobody got."""

    def count(self, stamp_ns: int, reported: int, duration_ns: int) -> int:
        """The number of a frame; the first one is 0.

        Args:
            stamp_ns: its time stamp.
            reported: libcamera's sequence number.
            duration_ns: what the frame says of its own length, 0 if unknown.
        """
        if self._stamp_ns is not None:
            step = self._step(stamp_ns - self._stamp_ns, reported - self._reported)
            self._number += step
            self.missed += step - 1
        self._stamp_ns, self._reported, self._duration_ns = stamp_ns, reported, duration_ns
        return self._number

    def _step(self, elapsed_ns: int, reported_step: int) -> int:
        beyond = (elapsed_ns - (self._duration_ns or self._period_ns)) / self._period_ns
        missed = round(beyond)
        if missed >= 0 and abs(beyond - missed) <= self._CLEAR_PERIODS:
            return 1 + missed
        return reported_step if reported_step > 0 else max(1, 1 + missed)
