"""What makes a simulated sensor imperfect: its oscillator, its stamps, its losses."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture_protocol.errors import InputError

_Floats = NDArray[np.floating[Any]]

_BLOCK = 4096  # random numbers are drawn in blocks: one at a time costs 50 times more
_WANDER_STEP_NS = 1_000_000_000  # the oscillator's rate is piecewise constant over a second
_WANDER_TIME_CONSTANT_S = 300.0  # a board's temperature follows its load within minutes


@dataclass(frozen=True)
class SensorPhysics:
    """Imperfections of one simulated sensor. The defaults are a plausible Pi camera."""

    ppm: float = 0.0
    """Oscillator error: positive is slow (every line takes longer)."""
    wander_ppm: float = 0.05
    """Standard deviation of the oscillator's slow wander around ``ppm`` (minutes)."""
    stamp_noise_ns: float = 3_000.0
    """Gaussian part of the frame-start stamp's error (interrupt latency jitter)."""
    tail_probability: float = 0.01
    """Share of stamps that come late because the interrupt was held up."""
    tail_ns: float = 200_000.0
    """Such a stamp is late by up to this much, uniformly."""
    drop_probability: float = 0.0
    """Share of frames that are lost in the camera (a request stays queued for the next)."""

    def __post_init__(self) -> None:
        """Raise InputError for impossible values."""
        if not abs(self.ppm) <= 1_000 or min(self.wander_ppm, self.stamp_noise_ns) < 0:
            raise InputError("a simulated sensor has |ppm| ≤ 1000, wander and noise from 0 up")
        if self.tail_ns < 0 or not (
            0 <= self.tail_probability <= 1 and 0 <= self.drop_probability <= 1
        ):
            raise InputError("probabilities of a simulated sensor are 0 to 1, tails from 0 up")


class Oscillator:
    """The sensor's clock: nominal times stretch by ``ppm`` and by an Ornstein-Uhlenbeck wander."""

    def __init__(self, physics: SensorPhysics, rng: np.random.Generator) -> None:
        self._offset = physics.ppm * 1e-6
        keep = math.exp(-_WANDER_STEP_NS / (_WANDER_TIME_CONSTANT_S * 1e9))
        self._keep = keep
        self._kick = physics.wander_ppm * 1e-6 * math.sqrt(1 - keep * keep)
        self._normal = _stream(rng.standard_normal)
        self._wander = physics.wander_ppm * 1e-6 * next(self._normal)
        self._next_step_ns = float(_WANDER_STEP_NS)
        self.stretch = 1.0 + self._offset + self._wander

    def advance(self, elapsed_ns: float) -> float:
        """Let the wander proceed to an elapsed time; return the stretch of nominal times there."""
        while elapsed_ns >= self._next_step_ns:
            self._next_step_ns += _WANDER_STEP_NS
            self._wander = self._wander * self._keep + self._kick * next(self._normal)
            self.stretch = 1.0 + self._offset + self._wander
        return self.stretch


class StampError:
    """Error of the frame-start stamps: Gaussian jitter, and a tail of late interrupts."""

    def __init__(self, physics: SensorPhysics, rng: np.random.Generator) -> None:
        def block(size: int) -> _Floats:
            late = rng.random(size) < physics.tail_probability
            jitter = physics.stamp_noise_ns * rng.standard_normal(size)
            return jitter + late * rng.uniform(0.0, physics.tail_ns, size)

        self._errors = _stream(block)

    def draw_ns(self) -> float:
        """Return the next stamp's error."""
        return next(self._errors)


class Losses:
    """Which frames are lost inside the camera."""

    def __init__(self, physics: SensorPhysics, rng: np.random.Generator) -> None:
        self._never = physics.drop_probability == 0
        self._lost = _stream(lambda size: (rng.random(size) < physics.drop_probability) * 1.0)

    def draw(self) -> bool:
        """Tell whether the next frame is lost."""
        return False if self._never else next(self._lost) > 0


def _stream(
    block: Callable[[int], _Floats],
) -> Iterator[float]:
    while True:
        yield from block(_BLOCK).tolist()
