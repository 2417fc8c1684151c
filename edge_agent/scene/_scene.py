"""A panning textured background with moving patches, rendered by copying only."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from capture_protocol.errors import InputError

I420Picture = NDArray[np.uint8]
Plane = NDArray[np.uint8]

_PAN_PX = 64  # margin of the background around the picture, per side
_PAN_PERIODS_S = (11.0, 7.0)  # the pan's x and y never repeat together within a session
_PATCH_COUNT = 4
_TEXTURE_SCALES_PX = (64, 16, 4)  # coarse to fine: work for motion search and for residuals
_NS_PER_S = 1_000_000_000


@dataclass(frozen=True)
class _Patch:
    """A textured square that wanders over the background on its own ellipse."""

    luma: Plane
    chroma: tuple[int, int]
    periods_s: tuple[float, float]
    phases: tuple[float, float]


class Scene:
    """Renders the scene of one camera.

    ``width`` and ``height`` in pixels, even, at least 64; ``seed`` tells cameras apart.
    Raises InputError for a size that I420 cannot hold.
    """

    def __init__(self, width: int, height: int, seed: int) -> None:
        if width < 64 or height < 64 or width % 2 or height % 2:
            raise InputError(f"a scene cannot be {width}x{height}: even sides from 64 pixels up")
        self.width, self.height = width, height
        rng = np.random.default_rng(seed)
        backdrop = (height + 2 * _PAN_PX, width + 2 * _PAN_PX)
        self._luma = _texture(rng, backdrop, low=40, high=200)
        halves = (backdrop[0] // 2, backdrop[1] // 2)
        self._chroma = tuple(_texture(rng, halves, low=108, high=148) for _ in range(2))
        side = min(width, height) // 4 & ~1
        self._patches = tuple(_make_patch(rng, side) for _ in range(_PATCH_COUNT))

    def blank(self) -> I420Picture:
        """Return a fresh picture: uint8, (height * 3 // 2, width), planes Y, U, V."""
        return np.zeros((self.height * 3 // 2, self.width), np.uint8)

    def render(self, picture: I420Picture, instant_ns: int) -> None:
        """Render the scene at an instant into a C-contiguous I420 picture, in place.

        Raises InputError for a picture of another shape, type or layout.
        """
        luma, chroma = self._planes(picture)
        time_s = (instant_ns % (86_400 * _NS_PER_S)) / _NS_PER_S
        x = _even(_PAN_PX * (1 + math.sin(2 * math.pi * time_s / _PAN_PERIODS_S[0])))
        y = _even(_PAN_PX * (1 + math.sin(2 * math.pi * time_s / _PAN_PERIODS_S[1])))
        luma[:] = self._luma[y : y + self.height, x : x + self.width]
        for plane, backdrop in zip(chroma, self._chroma, strict=True):
            top, left = y // 2, x // 2
            plane[:] = backdrop[top : top + self.height // 2, left : left + self.width // 2]
        for patch in self._patches:
            self._paste(patch, time_s, luma, chroma)

    def _planes(self, picture: I420Picture) -> tuple[Plane, tuple[Plane, Plane]]:
        shape = (self.height * 3 // 2, self.width)
        if picture.shape != shape or picture.dtype != np.uint8 or not picture.flags.c_contiguous:
            raise InputError(f"the scene needs a C-contiguous uint8 picture of shape {shape}")
        half = (self.height // 2, self.width // 2)
        u, v = picture[self.height :].reshape(2, *half)
        return picture[: self.height], (u, v)

    def _paste(
        self, patch: _Patch, time_s: float, luma: Plane, chroma: tuple[Plane, Plane]
    ) -> None:
        side = len(patch.luma)
        x = _wander(time_s, patch.periods_s[0], patch.phases[0], self.width - side)
        y = _wander(time_s, patch.periods_s[1], patch.phases[1], self.height - side)
        luma[y : y + side, x : x + side] = patch.luma
        for plane, level in zip(chroma, patch.chroma, strict=True):
            plane[y // 2 : (y + side) // 2, x // 2 : (x + side) // 2] = level


def _even(value: float) -> int:
    return int(value) & ~1


def _wander(time_s: float, period_s: float, phase: float, span_px: int) -> int:
    return _even(span_px * (1 + math.sin(2 * math.pi * (time_s / period_s + phase))) / 2)


def _make_patch(rng: np.random.Generator, side: int) -> _Patch:
    u, v = (int(level) for level in rng.integers(80, 177, 2))
    slow, fast = (float(period) for period in rng.uniform(2.0, 6.0, 2))
    phase_x, phase_y = (float(phase) for phase in rng.uniform(0.0, 1.0, 2))
    texture = _texture(rng, (side, side), low=20, high=235)
    return _Patch(texture, (u, v), (slow, fast), (phase_x, phase_y))


def _texture(rng: np.random.Generator, shape: tuple[int, int], low: int, high: int) -> Plane:
    """Return noise of several scales, evenly weighted, stretched to ``low`` .. ``high``."""
    total = np.zeros(shape, np.int32)
    for scale in _TEXTURE_SCALES_PX:
        coarse = rng.integers(0, 256, (shape[0] // scale + 1, shape[1] // scale + 1), np.int32)
        total += coarse.repeat(scale, axis=0).repeat(scale, axis=1)[: shape[0], : shape[1]]
    span = 255 * len(_TEXTURE_SCALES_PX)
    return (low + total * (high - low) // span).astype(np.uint8)
