"""When a live frame was taken, how that is known, and how surely."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Timing(StrEnum):
    """What a frame's time rests on."""

    SENDER_REPORT = "sender-report"
    """RTCP sender reports (RFC 3550, section 6.4.1): the sender's own clock"""
    BACK_DATED = "back-dated"
    """the same, computed backwards: the frame came before the first report"""
    ARRIVAL = "arrival"
    """the receiver's clock: later than the capture by an unknown latency"""


class ClockState(StrEnum):
    """What is to be thought of the sender's clock."""

    STEADY = "steady"
    IN_DOUBT = "in-doubt"
    """the newest report contradicts the earlier ones; the next one decides"""
    HELD = "held"
    """the sender's clock jumped away from any plausible time; its earlier time is carried on"""


@dataclass(frozen=True, slots=True)
class Stamp:
    """The time of one frame."""

    time_ns: int
    """Unix time."""
    bound_ns: int | None
    """The true instant on the sender's clock lies within ± this with 99 % confidence;
    None where nothing bounds it."""
    timing: Timing
    clock: ClockState = ClockState.STEADY
    epoch: int = 0
    """Counts the breaks in a camera's time: times of different epochs do not compare."""
