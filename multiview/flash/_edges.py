"""Sub-row positions of the edges that a flash leaves in a rolling-shutter picture.

The gain over the rows of one frame is modelled as

    A·s(r)·[F((r − lead)/d) − F((r − trail)/d)] + c,   F(x) = 1 − exp(−x) for x > 0

with a gentle spatial variation ``s``. ``F`` is the flash's own light curve, the same in every
camera but for the rows it takes, so the row where half of the light was out (the onset plus
``d·ln 2``) is the same instant everywhere. A trailing edge is that instant plus the exposure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares

from multiview.flash._detection import Piece, Sighting

Float64 = npt.NDArray[np.float64]

FAR = 1e6  # rows; an edge that lies in no frame
MODEL_SHARE = 0.03  # of the gain: what texture and reflections leave unexplained
DECAY_SHARE = 1 / 40  # of the height: a millisecond of a 40 ms readout, the first guess
DECAY_SPREAD = 1.0  # standard deviation of the guess, in powers of e
SHADE_SPREAD = 0.3  # relative variation of the gain over the picture's height
LEVEL_SPREAD = 0.3  # relative error of the plateau seen in the flash's other frame
OFFSET_SPREAD = 0.02  # gain left over by an imperfect ambient
FINEST_ROW = 0.1  # rows; no edge is claimed better
LN2 = math.log(2)


class Kind(StrEnum):
    """Which side of the lit band an edge is."""

    LEAD = "lead"
    """rows from here on were still exposed when the flash fired"""
    TRAIL = "trail"
    """rows from here on began their exposure after the flash"""


@dataclass(frozen=True)
class Edge:
    """Where a flash's half-light instant lies in a frame."""

    frame: int
    kind: Kind
    row: float
    sigma: float
    """standard uncertainty of ``row`` (rows)"""


@dataclass(frozen=True)
class _Band:
    """What is free in the fit of one piece."""

    piece: Piece
    level: float
    decay: float
    decay_spread: float
    span: float
    """rows between leading and trailing edge, where one of them lies outside; FAR if unknown"""

    def model(self, p: Float64, rows: Float64) -> Float64:
        level, tilt, bend, log_decay, offset, *edges = p
        lead, trail = self.edges(edges)
        x = rows / len(self.piece.gain) - 0.5
        light = _emitted(rows - lead, log_decay) - _emitted(rows - trail, log_decay)
        curve: Float64 = level * (1 + tilt * x + bend * x * x) * light + offset
        return curve

    def edges(self, free: Sequence[float]) -> tuple[float, float]:
        if self.piece.begins_inside and self.piece.ends_inside:
            return free[0], free[1]
        if self.piece.begins_inside:
            return free[0], free[0] + self.span
        if self.piece.ends_inside:
            return free[0] - self.span, free[0]
        return -FAR, FAR

    def start(self) -> Float64:
        inside = (self.piece.begins_inside, self.piece.ends_inside)
        ends = (self.piece.first, self.piece.end)
        edges = [float(row) for row, known in zip(ends, inside, strict=True) if known]
        return np.array([self.level, 0.0, 0.0, math.log(self.decay), 0.0, *edges])

    def residuals(self, p: Float64, rows: Float64) -> Float64:
        scale = MODEL_SHARE * self.level
        data = (self.piece.gain - self.model(p, rows)) / scale
        prior = [
            (p[0] / self.level - 1) / LEVEL_SPREAD,
            p[1] / SHADE_SPREAD,
            p[2] / SHADE_SPREAD,
            (p[3] - math.log(self.decay)) / self.decay_spread,
            p[4] / OFFSET_SPREAD,
        ]
        return np.concatenate([data, prior])


def find_edges(sightings: Sequence[Sighting]) -> list[list[Edge]]:
    """Return the edges of each sighting of one video; none for a flash that lit whole frames.

    Two rounds: the first learns how many rows the flashes' decay and the exposure take, so that
    the second can place edges that are cut by the picture's border.
    """
    if not sightings:
        return []
    height = len(sightings[0].pieces[0].gain)
    first = [_fit(p, s.level, height * DECAY_SHARE, DECAY_SPREAD) for s in sightings for p in s.pieces]
    decays = [fit.decay for fit in first if fit.edges]
    decay = float(np.median(decays)) if decays else height * DECAY_SHARE
    spans = [fit.span for fit in first if fit.span]
    span = float(np.median(spans)) if spans else FAR
    return [
        [edge for p in s.pieces for edge in _fit(p, s.level, decay, DECAY_SPREAD / 2, span).edges]
        for s in sightings
    ]


@dataclass(frozen=True)
class _Fit:
    edges: tuple[Edge, ...]
    decay: float
    span: float
    """rows between the edges if both are in the frame, else 0"""


def _fit(piece: Piece, level: float, decay: float, spread: float, span: float = FAR) -> _Fit:
    if not (piece.begins_inside or piece.ends_inside):
        return _Fit((), decay, 0.0)
    band = _Band(piece, level, decay, spread, span)
    rows = np.arange(len(piece.gain), dtype=np.float64)
    found = least_squares(
        band.residuals, band.start(), args=(rows,), loss="soft_l1", x_scale="jac", max_nfev=60
    )
    data = band.residuals(found.x, rows)[: len(rows)]
    covariance = np.linalg.pinv(found.jac.T @ found.jac) * _inflation(data)
    edges = tuple(
        Edge(piece.frame, kind, *_half_light(found.x, covariance, index))
        for index, kind in enumerate(_kinds(piece), start=5)
    )
    lead, trail = band.edges(found.x[5:])
    both = piece.begins_inside and piece.ends_inside
    return _Fit(edges, math.exp(found.x[3]), trail - lead if both else 0.0)


def _kinds(piece: Piece) -> list[Kind]:
    return [Kind.LEAD] * piece.begins_inside + [Kind.TRAIL] * piece.ends_inside


def _half_light(p: Float64, covariance: Float64, index: int) -> tuple[float, float]:
    """Row and sigma of the edge parameter ``index``, moved from onset to half light."""
    decay = math.exp(p[3])
    gradient = np.zeros(len(p))
    gradient[index], gradient[3] = 1.0, LN2 * decay
    sigma = math.sqrt(float(gradient @ covariance @ gradient))
    return p[index] + LN2 * decay, max(sigma, FINEST_ROW)


def _inflation(residuals: Float64) -> float:
    """Scale of the covariance: misfit, and how many rows share one error."""
    centred = residuals - residuals.mean()
    variance = float(centred @ centred) / len(centred)
    if variance == 0:
        return 1.0
    lags = [float(centred[lag:] @ centred[:-lag]) for lag in range(1, len(centred) // 10)]
    rho = np.array(lags) / (variance * len(centred))
    reach = int(np.argmax(rho < 0.1)) if (rho < 0.1).any() else len(rho)
    return variance * (1 + 2 * float(rho[:reach].sum()))


def _emitted(rows: Float64, log_decay: float) -> Float64:
    light: Float64 = -np.expm1(-np.maximum(rows, 0.0) / math.exp(log_decay))
    return light
