"""Pinhole cameras with lens distortion, placed in a world of metres with z up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self
from zlib import crc32

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from multiview.errors import SyncConfigError

Float64 = NDArray[np.float64]

NEAR_M = 0.5
"""Points nearer to the camera than this, or behind it, are not drawn."""
GOLDEN_ANGLE = np.pi * (3 - 5**0.5)
"""Successive multiples never fall close together, so numbered cameras surround the field."""


@dataclass(frozen=True)
class CameraModel:
    """A camera: what `cv2.projectPoints` needs, and its picture's size."""

    matrix: Float64
    """3×3 intrinsic matrix, pixels."""
    rotation: Float64
    """3×3, from world to camera axes (x right, y down, z forward)."""
    translation: Float64
    """3, metres: the world's origin in camera axes."""
    size: tuple[int, int] = (1280, 720)
    """Width and height in pixels."""
    distortion: Float64 = field(default_factory=lambda: np.zeros(5))
    """k1, k2, p1, p2, k3 of OpenCV's lens model."""

    @classmethod
    def looking_at(
        cls,
        position: ArrayLike,
        target: ArrayLike,
        *,
        size: tuple[int, int] = (1280, 720),
        field_of_view_deg: float = 60.0,
        distortion: ArrayLike = (0.0, 0.0, 0.0, 0.0, 0.0),
    ) -> Self:
        """Place a level camera; the field of view is that of the picture's width."""
        if not 1 <= field_of_view_deg < 170:
            raise SyncConfigError(f"a field of view of {field_of_view_deg}° is no pinhole camera's")
        place, aim = np.asarray(position, np.float64), np.asarray(target, np.float64)
        forward = (aim - place) / max(float(np.linalg.norm(aim - place)), 1e-9)
        right = np.cross(forward, (0.0, 0.0, 1.0))
        if np.linalg.norm(right) < 1e-6:
            raise SyncConfigError("a camera cannot look straight up or down: move it or its target")
        right /= np.linalg.norm(right)
        rotation = np.stack([right, np.cross(forward, right), forward])
        focal = size[0] / 2 / np.tan(np.radians(field_of_view_deg) / 2)
        centre = ((size[0] - 1) / 2, (size[1] - 1) / 2)
        matrix = np.array([[focal, 0, centre[0]], [0, focal, centre[1]], [0, 0, 1.0]])
        return cls(matrix, rotation, -rotation @ place, size, np.asarray(distortion, np.float64))

    @property
    def position(self) -> Float64:
        """The camera's centre in the world, metres."""
        return -self.rotation.T @ self.translation

    @property
    def projection(self) -> Float64:
        """3×4 projection matrix K[R|t], without distortion."""
        return self.matrix @ np.column_stack([self.rotation, self.translation])

    def depth(self, points: Float64) -> Float64:
        """Distance of N×3 world points along the optical axis, metres."""
        return np.asarray((points @ self.rotation.T + self.translation)[:, 2])

    def project(self, points: Float64) -> Float64:
        """N×3 world points in metres to N×2 pixels, distortion included."""
        turn, _ = cv2.Rodrigues(self.rotation)
        pixels, _ = cv2.projectPoints(points, turn, self.translation, self.matrix, self.distortion)
        return np.asarray(pixels, dtype=np.float64).reshape(-1, 2)

    def to_dict(self) -> dict[str, object]:
        """Plain numbers for a calibration file."""
        return {
            "size": list(self.size),
            "matrix": self.matrix.tolist(),
            "rotation": self.rotation.tolist(),
            "translation": self.translation.tolist(),
            "distortion": self.distortion.tolist(),
        }


def default_camera(
    camera_id: str, field_length: float, field_width: float, size: tuple[int, int]
) -> CameraModel:
    """A camera on a stand around the field, its place told by the number in its name."""
    digits = "".join(filter(str.isdigit, camera_id))
    angle = GOLDEN_ANGLE * (int(digits[-9:]) if digits else crc32(camera_id.encode()))
    centre = np.array([field_length / 2, field_width / 2, 0.0])
    reach = 0.75 * max(field_length, field_width)
    place = centre + reach * np.array([np.cos(angle), np.sin(angle), 0.25])
    return CameraModel.looking_at(
        place, centre, size=size, field_of_view_deg=75, distortion=(-0.05, 0.01, 0, 0, 0)
    )
