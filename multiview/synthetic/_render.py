"""Pictures of a scene as a camera sees it."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple
from zlib import crc32

import cv2
import numpy as np

from multiview.sources import Image
from multiview.synthetic._camera import NEAR_M, CameraModel, Float64
from multiview.synthetic._scene import SceneConfig

GRASS_BGR = (60, 120, 50)
LINE_BGR = (230, 230, 230)
BALL_BGR = (30, 140, 250)
SHIRTS_BGR = ((200, 60, 40), (40, 40, 200), (200, 200, 40))
BLUR_STEPS = 7
"""Instants averaged over an exposure; more are not told apart at usual speeds."""
NOISE_MARGIN = 256
SUBPIXEL_BITS = 4
SUBPIXELS = 2**SUBPIXEL_BITS
"""OpenCV draws at sixteenths of a pixel, so that motion is smooth."""


class Disc(NamedTuple):
    """A circle in sixteenths of a pixel."""

    x: int
    y: int
    radius: int


class Renderer:
    """Draws one camera's view of a scene; the field is drawn once and kept."""

    def __init__(self, scene: SceneConfig, camera: CameraModel, camera_id: str) -> None:
        self.scene = scene
        self.camera = camera
        self._name = crc32(camera_id.encode())

    def picture(self, number: int, seconds: float) -> Image:
        """H×W×3 BGR of frame ``number``, its exposure centred on ``seconds``.

        The noise depends on scene seed, camera and frame number only.
        """
        image = self._field.copy()
        discs = [disc for instant in self._instants(seconds) if (disc := self._ball(instant))]
        if discs:
            rows, columns = _around(discs)
            image[rows, columns] = self._blurred(image[rows, columns], discs, rows, columns)
        return self._noisy(image, number)

    def _instants(self, seconds: float) -> list[float]:
        exposure = self.scene.exposure_seconds
        steps = BLUR_STEPS if exposure else 1
        return [seconds + exposure * ((k + 0.5) / steps - 0.5) for k in range(steps)]

    def _ball(self, seconds: float) -> Disc | None:
        """The ball in the picture at an instant; None if it is behind the camera."""
        centre = self.scene.ball_at(seconds)[None]
        depth = float(self.camera.depth(centre)[0])
        if depth <= NEAR_M:
            return None
        x, y = _fixed_point(self.camera.project(centre))[0]
        radius = self.scene.ball_radius * self.camera.matrix[0, 0] / depth
        return Disc(int(x), int(y), max(1, round(radius * SUBPIXELS)))

    def _blurred(self, part: Image, discs: list[Disc], rows: slice, columns: slice) -> Image:
        """The mean of ``part`` with each of the discs drawn on it."""
        total = np.zeros(part.shape, np.float32)
        if not part.size:
            return part
        for disc in discs:
            sharp = part.copy()
            place = (disc.x - columns.start * SUBPIXELS, disc.y - rows.start * SUBPIXELS)
            cv2.circle(sharp, place, disc.radius, BALL_BGR, -1, cv2.LINE_AA, SUBPIXEL_BITS)
            cv2.accumulate(sharp, total)
        return np.asarray(np.rint(total / len(discs)), dtype=np.uint8)

    @cached_property
    def _field(self) -> Image:
        width, height = self.camera.size
        image = np.full((height, width, 3), GRASS_BGR, np.uint8)
        for chain in self.scene.field_lines():
            self._draw_chain(image, chain)
        for number, (x, y) in enumerate(self.scene.player_positions):
            self._draw_player(image, x, y, SHIRTS_BGR[number % len(SHIRTS_BGR)])
        return image

    def _draw_chain(self, image: Image, chain: Float64) -> None:
        seen = chain[self.camera.depth(chain) > NEAR_M]
        if len(seen) > 1:
            cv2.polylines(
                image,
                [_fixed_point(self.camera.project(seen))],
                False,
                LINE_BGR,
                2,
                cv2.LINE_AA,
                SUBPIXEL_BITS,
            )

    def _draw_player(self, image: Image, x: float, y: float, shirt: tuple[int, int, int]) -> None:
        body = np.array([(x, y, 0.0), (x, y, self.scene.player_height)])
        depth = float(self.camera.depth(body).min())
        if depth > NEAR_M:
            feet, head = _fixed_point(self.camera.project(body))
            thick = max(2, round(0.5 * self.camera.matrix[0, 0] / depth))
            cv2.line(image, feet, head, shirt, thick, cv2.LINE_AA, SUBPIXEL_BITS)

    @cached_property
    def _noise(self) -> np.ndarray[tuple[int, ...], np.dtype[np.int16]]:
        """More noise than a picture needs: every frame takes another part of it."""
        width, height = self.camera.size
        random = np.random.default_rng((self.scene.seed, self._name))
        shape = (height + NOISE_MARGIN, width + NOISE_MARGIN, 3)
        grain = random.standard_normal(shape, np.float32) * self.scene.noise_sigma
        return np.asarray(np.rint(grain), dtype=np.int16)

    def _noisy(self, clean: Image, number: int) -> Image:
        if not self.scene.noise_sigma:
            return clean
        height, width, _ = clean.shape
        random = np.random.default_rng((self.scene.seed, self._name, number))
        top, left = random.integers(0, NOISE_MARGIN, 2)
        grain = self._noise[top : top + height, left : left + width]
        return np.asarray(cv2.add(clean, grain, dtype=cv2.CV_8U), dtype=np.uint8)


def _around(discs: list[Disc]) -> tuple[slice, slice]:
    """Rows and columns of the picture that the discs may touch."""
    margin = 2  # smoothed edges reach beyond the radius
    left = min(d.x - d.radius for d in discs) // SUBPIXELS - margin
    right = max(d.x + d.radius for d in discs) // SUBPIXELS + margin
    top = min(d.y - d.radius for d in discs) // SUBPIXELS - margin
    bottom = max(d.y + d.radius for d in discs) // SUBPIXELS + margin
    return slice(max(0, top), max(0, bottom + 1)), slice(max(0, left), max(0, right + 1))


def _fixed_point(pixels: Float64) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
    limit = 2**15  # far outside any picture, and safe in OpenCV's arithmetic
    scaled = np.clip(pixels, -limit, limit) * SUBPIXELS
    return np.asarray(np.rint(scaled), dtype=np.int32)
