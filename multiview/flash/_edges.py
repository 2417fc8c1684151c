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
LEVEL_SPREAD = 0.3  # of the plateau, in powers of e, where some frame shows it
CUT_LEVEL_SPREAD = 1.5  # the same where the exposure ends before the plateau
PLATEAU_DECAYS = 4.0  # decays after which the light is out and the plateau reached
VISIBLE_DECAYS = 2.0  # decays that a band cut by the border must show to have half-light inside
DARK_MARGIN = 1 / 8  # of the height: dark rows beside the lit ones that take part in a fit
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
class _Shape:
    """What the flashes of one video have in common, in rows."""

    decay: float
    decay_spread: float
    """standard deviation of the decay, in powers of e"""
    span: float
    """rows between leading and trailing edge, for when one lies outside; FAR if unknown"""


@dataclass(frozen=True)
class _Fit:
    """What one piece told."""

    edges: tuple[Edge, ...]
    decay: float
    span: float
    """rows between the edges if both are in the frame, else 0"""
    cost: float


@dataclass(frozen=True)
class _Band:
    """What is free in the fit of one piece."""

    piece: Piece
    level: float
    level_spread: float
    shape: _Shape

    @property
    def rows(self) -> Float64:
        """The rows that take part: the lit ones and some dark ones beside them."""
        height = len(self.piece.gain)
        margin = round(height * DARK_MARGIN)
        begin, end = max(0, self.piece.first - margin), min(height, self.piece.end + margin)
        return np.arange(begin, end, dtype=np.float64)

    def model(self, p: Float64, rows: Float64) -> Float64:
        log_level, tilt, bend, log_decay, offset, *edges = p
        lead, trail = self.edges(edges)
        x = rows / len(self.piece.gain) - 0.5
        light = _emitted(rows - lead, log_decay) - _emitted(rows - trail, log_decay)
        curve: Float64 = math.exp(log_level) * (1 + tilt * x + bend * x * x) * light + offset
        return curve

    def edges(self, free: Sequence[float]) -> tuple[float, float]:
        if self.piece.begins_inside and self.piece.ends_inside:
            return free[0], free[1]
        if self.piece.begins_inside:
            return free[0], free[0] + self.shape.span
        if self.piece.ends_inside:
            return free[0] - self.shape.span, free[0]
        return -FAR, FAR

    def start(self) -> Float64:
        inside = (self.piece.begins_inside, self.piece.ends_inside)
        ends = (self.piece.first, self.piece.end)
        edges = [float(row) for row, known in zip(ends, inside, strict=True) if known]
        return np.array([math.log(self.level), 0.0, 0.0, math.log(self.shape.decay), 0.0, *edges])

    def residuals(self, p: Float64, rows: Float64) -> Float64:
        scale = MODEL_SHARE * self.level
        seen = self.piece.gain[int(rows[0]) : int(rows[-1]) + 1]
        data = (seen - self.model(p, rows)) / scale
        prior = [
            (p[0] - math.log(self.level)) / self.level_spread,
            p[1] / SHADE_SPREAD,
            p[2] / SHADE_SPREAD,
            (p[3] - math.log(self.shape.decay)) / self.shape.decay_spread,
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
    shape = _learnt_shape(_fit_all(sightings, _first_guess(sightings)), _first_guess(sightings))
    return [[edge for fit in fits for edge in fit.edges] for fits in _fit_all(sightings, shape)]


def misfit(sightings: Sequence[Sighting]) -> float:
    """Return how badly the light curve fits: larger if the rows are taken in the wrong order."""
    fits = _fit_all(sightings, _first_guess(sightings)) if sightings else []
    return sum(fit.cost for parts in fits for fit in parts)


def _first_guess(sightings: Sequence[Sighting]) -> _Shape:
    return _Shape(len(sightings[0].pieces[0].gain) * DECAY_SHARE, DECAY_SPREAD, FAR)


def _learnt_shape(fits: list[list[_Fit]], guess: _Shape) -> _Shape:
    decays = [fit.decay for parts in fits for fit in parts if fit.edges]
    spans = [fit.span for parts in fits for fit in parts if fit.span]
    decay = float(np.median(decays)) if decays else guess.decay
    return _Shape(decay, DECAY_SPREAD / 2, float(np.median(spans)) if spans else FAR)


def _fit_all(sightings: Sequence[Sighting], shape: _Shape) -> list[list[_Fit]]:
    return [[_fit(p, s, shape) for p in s.pieces] for s in sightings]


def _fit(piece: Piece, sighting: Sighting, shape: _Shape) -> _Fit:
    if not (piece.begins_inside or piece.ends_inside):
        return _Fit((), shape.decay, 0.0, 0.0)
    longest = max(p.end - p.first for p in sighting.pieces)
    cut = longest < PLATEAU_DECAYS * shape.decay
    if longest < VISIBLE_DECAYS * shape.decay and not (piece.begins_inside and piece.ends_inside):
        return _Fit((), shape.decay, 0.0, 0.0)  # half-light may lie beyond the border, unseen
    band = _Band(piece, sighting.level, CUT_LEVEL_SPREAD if cut else LEVEL_SPREAD, shape)
    rows = band.rows
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
    return _Fit(edges, math.exp(found.x[3]), trail - lead if both else 0.0, float(found.cost))


def _kinds(piece: Piece) -> list[Kind]:
    return [Kind.LEAD] * piece.begins_inside + [Kind.TRAIL] * piece.ends_inside


def _half_light(p: Float64, covariance: Float64, index: int) -> tuple[float, float]:
    """Row and sigma of the edge parameter ``index``, moved from onset to half light."""
    decay = math.exp(p[3])
    gradient = np.zeros(len(p))
    gradient[index], gradient[3] = 1.0, LN2 * decay
    sigma = math.sqrt(float(gradient @ covariance @ gradient))
    return float(p[index]) + LN2 * decay, max(sigma, FINEST_ROW)


def _inflation(residuals: Float64) -> float:
    """Scale of the covariance: misfit, and how many rows share one error."""
    centred = residuals - residuals.mean()
    variance = float(centred @ centred) / len(centred)
    if variance == 0:
        return 1.0
    lags = [float(centred[lag:] @ centred[:-lag]) for lag in range(1, len(centred) // 10)]
    rho = np.array(lags) / (variance * len(centred))
    reach = int(np.argmax(rho < 0.1)) if (rho < 0.1).any() else len(rho)
    return max(variance * (1 + 2 * float(rho[:reach].sum())), 1.0)


def _emitted(rows: Float64, log_decay: float) -> Float64:
    light: Float64 = -np.expm1(-np.maximum(rows, 0.0) / math.exp(log_decay))
    return light
