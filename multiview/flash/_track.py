"""What one video alone tells: its flashes, their edges, and a first idea of its shutter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares

from multiview.flash._detection import Piece, Sighting, chain, find_pieces, reading_order, turned
from multiview.flash._edges import Edge, Kind, find_edges, misfit
from multiview.flash._features import RowFeatures

Float64 = npt.NDArray[np.float64]

TURN_MISFIT = 0.75  # the light curve must fit that much better upside down to be believed
READOUT_SHARE = (0.6, 0.25)  # of the frame period: mean and spread over cameras in use
EXPOSURE_SHARE = (0.35, 0.35)
SHARE_BOUNDS = ([0.0, 0.0], [1.02, 1.02])
PAIR_LIMIT_NS = 1e6  # a larger misfit joined two different flashes
PAIR_NOISE_NS = 100_000.0  # of the time between two edges; misfit beyond it is down-weighted


@dataclass(frozen=True)
class Shutter:
    """Line time and exposure of a camera (ns), with their 2×2 covariance."""

    line_time_ns: float
    exposure_ns: float
    covariance: Float64


@dataclass(frozen=True)
class FlashEvent:
    """One flash as one camera saw it."""

    frame: int
    frame_time_ns: int
    edges: tuple[Edge, ...]
    edge_times_ns: tuple[int, ...]
    """time of each edge's frame"""
    time_ns: float
    """rough instant on the camera's clock, by the shutter that the video alone tells"""
    sigma_ns: float
    """standard uncertainty of ``time_ns``"""
    level: float
    """gain of the fully lit rows over the ambient"""


@dataclass(frozen=True)
class FlashTrack:
    """The flashes of one video."""

    events: tuple[FlashEvent, ...]
    shutter: Shutter
    height: int
    period_ns: float
    start_ns: int
    end_ns: int
    upside_down: bool
    """rows were read bottom first; the edges are counted from the bottom then"""
    time_step_ns: float

    @property
    def edge_count(self) -> int:
        """Edges over all events."""
        return sum(len(event.edges) for event in self.events)


def track_flashes(features: RowFeatures) -> FlashTrack:
    """Find a video's flashes and their sub-row edges."""
    sightings, upside_down = _upright(find_pieces(features))
    edges = find_edges(sightings)
    shutter = _estimate_shutter(edges, features)
    events = [
        _event(sighting, found, shutter, features)
        for sighting, found in zip(sightings, edges, strict=True)
    ]
    return FlashTrack(
        tuple(events),
        shutter,
        features.height,
        features.period_ns,
        int(features.times_ns[0]),
        int(features.times_ns[-1]),
        upside_down,
        features.time_step_ns,
    )


def _upright(pieces: list[Piece]) -> tuple[list[Sighting], bool]:
    order = reading_order(pieces)
    upright, reverse = chain(pieces), chain(turned(pieces))
    upside_down = order < 0
    if order == 0:
        upside_down = misfit(reverse) < TURN_MISFIT * misfit(upright)
    return (reverse if upside_down else upright), upside_down


def _estimate_shutter(edges: Sequence[Sequence[Edge]], features: RowFeatures) -> Shutter:
    """Separate line time and exposure by the flashes that show both edges.

    Within one frame the rows between them take one exposure; across two frames they take an
    exposure less the frame period. Where only one kind occurs the common knowledge of cameras
    (a prior) decides, and the covariance says so. A pair that fits no shutter joined two flashes.
    """
    pairs = [_lead_trail(found) for found in edges if {edge.kind for edge in found} == set(Kind)]
    times = features.times_ns.astype(np.float64)
    rows = np.array([trail.row - lead.row for lead, trail in pairs])
    gaps = np.array([times[trail.frame] - times[lead.frame] for lead, trail in pairs])
    while True:
        shutter, misfits = _fit_shutter(rows, gaps, features)
        if not len(misfits) or np.abs(misfits).max() < PAIR_LIMIT_NS:
            return shutter
        kept = np.arange(len(rows)) != np.abs(misfits).argmax()
        rows, gaps = rows[kept], gaps[kept]


def _fit_shutter(rows: Float64, gaps: Float64, features: RowFeatures) -> tuple[Shutter, Float64]:
    period, line = features.period_ns, features.period_ns / features.height

    def misfits(p: Float64) -> Float64:
        between: Float64 = rows * line * p[0] + gaps - period * p[1]
        return between

    def residuals(p: Float64) -> Float64:
        prior = [
            (p[0] - READOUT_SHARE[0]) / READOUT_SHARE[1],
            (p[1] - EXPOSURE_SHARE[0]) / EXPOSURE_SHARE[1],
        ]
        return np.concatenate([misfits(p) / PAIR_NOISE_NS, prior])

    start = np.array([READOUT_SHARE[0], EXPOSURE_SHARE[0]])
    found = least_squares(residuals, start, loss="soft_l1", bounds=SHARE_BOUNDS)
    scale = np.array([line, period])
    covariance = np.linalg.inv(found.jac.T @ found.jac) * np.outer(scale, scale)
    shutter = Shutter(float(found.x[0]) * line, float(found.x[1]) * period, covariance)
    return shutter, misfits(found.x)


def _lead_trail(edges: Sequence[Edge]) -> tuple[Edge, Edge]:
    lead = next(edge for edge in edges if edge.kind is Kind.LEAD)
    trail = next(edge for edge in edges if edge.kind is Kind.TRAIL)
    return lead, trail


def _event(
    sighting: Sighting, edges: Sequence[Edge], shutter: Shutter, features: RowFeatures
) -> FlashEvent:
    time_ns, sigma_ns = _rough_time(sighting, edges, shutter, features)
    return FlashEvent(
        sighting.frame,
        int(features.times_ns[sighting.frame]),
        tuple(edges),
        tuple(int(features.times_ns[edge.frame]) for edge in edges),
        time_ns,
        sigma_ns,
        sighting.level,
    )


def _rough_time(
    sighting: Sighting, edges: Sequence[Edge], shutter: Shutter, features: RowFeatures
) -> tuple[float, float]:
    """When the flash was half out, on the camera's clock, and how surely."""
    if edges:
        edge = edges[0]
        gradient = np.array([edge.row, -1.0 if edge.kind is Kind.TRAIL else 0.0])
        spread = 0.0
        frame = edge.frame
    else:  # whole frames are lit: the flash fell between their last row's start and first row's end
        gradient = np.array([features.height / 2, -0.5])
        readout = features.height * shutter.line_time_ns
        spread = abs(shutter.exposure_ns - readout) / math.sqrt(12)
        frame = sighting.pieces[-1].frame
    value = gradient @ [shutter.line_time_ns, shutter.exposure_ns]
    variance = float(gradient @ shutter.covariance @ gradient) + spread**2
    return float(features.times_ns[frame]) + float(value), math.sqrt(variance)
