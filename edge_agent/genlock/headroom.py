"""Whether a sensor mode can be steered at a rate at all.

Pulling a late sensor forward needs frames shorter than the grid's period. A mode that runs at
its own limit can only be pushed back: it never locks (picamera2 issue 1250: 34 fps asked of a
mode without room erred by 30 ms).
"""

import math
from fractions import Fraction

from capture_protocol.errors import InputError
from edge_agent.sensor import SensorMode

# Part of the period that must be left for steering: covers the rate errors of both clocks
# (100 ppm each) fifty times over, so a late camera gains at least 5 ms within a second.
_HEADROOM = 0.005
_NS_PER_S = 1_000_000_000
_RATE_STEP = 100  # rates are named in hundredths of a frame per second


class HeadroomError(InputError):
    """The mode cannot be genlocked at this rate; the message names the rate that works."""


def fastest_safe_rate_hz(mode: SensorMode) -> Fraction:
    """Return the fastest rate at which a mode can be genlocked, floored to 0.01 Hz."""
    safe_period_ns = mode.shortest_frame_ns * (1 + _HEADROOM)
    return Fraction(math.floor(_NS_PER_S * _RATE_STEP / safe_period_ns), _RATE_STEP)


def slowest_rate_hz(mode: SensorMode) -> Fraction:
    """Return the slowest rate: its period is the longest frame less the head-room, up 0.01 Hz."""
    safe_period_ns = mode.longest_lines * mode.line_time_ns * (1 - _HEADROOM)
    return Fraction(math.ceil(_NS_PER_S * _RATE_STEP / safe_period_ns), _RATE_STEP)


def check_headroom(mode: SensorMode, rate_hz: Fraction) -> None:
    """Raise HeadroomError unless the mode can be steered both ways at this rate."""
    fastest, slowest = fastest_safe_rate_hz(mode), slowest_rate_hz(mode)
    if rate_hz > fastest:
        raise HeadroomError(
            f"{mode.name} cannot be genlocked at {float(rate_hz):g} fps: its shortest frame is "
            f"{mode.shortest_frame_ns / 1e6:.3f} ms ({mode.top_rate_hz:.2f} fps), which leaves no "
            "room to steer",
            hint=f"use {float(fastest):g} fps or less, or a mode with a shorter frame",
        )
    if rate_hz < slowest:
        raise HeadroomError(
            f"{mode.name} cannot run as slowly as {float(rate_hz):g} fps",
            hint=f"use {float(slowest):g} fps or more",
        )
