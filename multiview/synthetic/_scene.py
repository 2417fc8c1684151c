"""The world that synthetic cameras film: a field, a ball that flies, players that stand or run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from multiview.errors import SyncConfigError
from multiview.synthetic._camera import Float64


@dataclass(frozen=True)
class SceneConfig:
    """A scene in metres, x along the field, y across, z up; the same for all cameras."""

    field_length: float = 100.0
    field_width: float = 70.0
    ball_trajectory: Sequence[tuple[float, float, float]] = ((30, 35, 1), (50, 30, 6), (70, 35, 1))
    """Places of the ball, passed at equal intervals of time on straight lines."""
    trajectory_seconds: float = 5.0
    """Time from the first place to the last; then the ball flies back, and so on."""
    player_positions: Sequence[tuple[float, float]] = ((30, 35), (70, 35), (50, 45))
    """Where players stand (x, y)."""
    ball_radius: float = 0.6
    """Larger than life, so that it can be found in a small picture."""
    player_height: float = 1.9
    noise_sigma: float = 2.0
    """Standard deviation of the sensor noise, in 8-bit levels."""
    exposure_seconds: float = 0.008
    """Moving things are blurred over this time."""
    seed: int = 0

    def __post_init__(self) -> None:
        if not (self.field_length > 0 and self.field_width > 0):
            raise SyncConfigError("a field needs a length and a width above 0 m")
        if not self.ball_trajectory or self.trajectory_seconds <= 0:
            raise SyncConfigError("a ball needs at least one place, and time to pass its places")
        if not (0 <= self.noise_sigma < 100 and 0 <= self.exposure_seconds <= 1):
            raise SyncConfigError("noise is 0 to 100 levels, an exposure 0 to 1 s")

    def ball_at(self, seconds: float) -> Float64:
        """Centre of the ball (x, y, z) in metres."""
        places = np.asarray(self.ball_trajectory, dtype=np.float64).reshape(-1, 3)
        lap = seconds / self.trajectory_seconds % 2.0
        along = (lap if lap <= 1 else 2 - lap) * (len(places) - 1)
        steps = np.arange(len(places))
        return np.array([np.interp(along, steps, places[:, axis]) for axis in range(3)])

    def field_lines(self) -> list[Float64]:
        """Edge and halfway line as chains of N×3 points, dense enough to bend with the lens."""
        length, width = self.field_length, self.field_width
        corners = [(0, 0), (length, 0), (length, width), (0, width), (0, 0)]
        chains = [*pairwise(corners)]
        chains.append(((length / 2, 0), (length / 2, width)))
        return [np.linspace((*start, 0.0), (*end, 0.0), 100) for start, end in chains]
