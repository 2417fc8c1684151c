"""How sure a timeline is: the covariance of its offset, drift and line time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from multiview.timeline._errors import TimelineError

Float64 = npt.NDArray[np.float64]
Covariance = tuple[tuple[float, float, float], ...]

ZERO_COVARIANCE: Covariance = ((0.0, 0.0, 0.0),) * 3
CORRELATION_SLACK = 1e-6  # rounding a covariance may suffer in a text file before it is refused


def as_covariance(matrix: Float64) -> Covariance:
    """Return a 3×3 array as the tuple form, exactly symmetric."""
    if matrix.shape != (3, 3):
        raise ValueError(f"a covariance is 3×3, not {matrix.shape}")
    halves = (matrix + matrix.T) / 2
    return tuple((float(x), float(y), float(z)) for x, y, z in halves)


def check_covariance(matrix: Float64) -> None:
    """Raise TimelineError unless this is a covariance of three numbers."""
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all():
        raise TimelineError("a covariance is 3×3 and finite")
    if (np.diag(matrix) < 0).any() or not np.allclose(matrix, matrix.T):
        raise TimelineError("a covariance is symmetric with no negative variance")
    if np.linalg.eigvalsh(correlation(matrix)).min() < -CORRELATION_SLACK:
        raise TimelineError("the covariance is not positive semi-definite")


def correlation(matrix: Float64) -> Float64:
    """Scale to a unit diagonal: offset, drift and line time differ by orders of magnitude."""
    scale = np.sqrt(np.maximum(np.diag(matrix), np.finfo(float).tiny))
    scaled: Float64 = matrix / np.outer(scale, scale)
    return scaled
