"""The linear equations that edges make, in the clocks and shutters of all cameras.

Every edge is one linear equation on the base camera's clock:

    t_frame + offset + drift·(t_frame − origin) + row·T_row − [exposure, if trailing] = flash

Leading and trailing edges in one and in two frames separate line time from exposure. Weak priors
(what cameras and crystals are like) keep what the footage does not show at a large but finite
uncertainty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from multiview.flash._edges import Edge, Kind
from multiview.flash._track import EXPOSURE_SHARE, READOUT_SHARE, FlashTrack

Float64 = npt.NDArray[np.float64]

MS = 1e6  # ns; the equations are in milliseconds and ppm so that their columns are of one size
PPM_MS = 1e-6  # ms of offset per ms of time and ppm of drift
DRIFT_SPREAD_PPM = 200.0  # crystals keep 100; files of odd time bases have shown 300
EDGE_FLOOR_NS = 25_000.0  # what texture and the light curve leave even in the clearest edge
FLASH_SPREAD_MS = 1e9  # a flash may be at any time of the footage

PER_CAMERA = 4
OFFSET, DRIFT, LINE, EXPOSURE = range(PER_CAMERA)
OWN_CLOCK = 2  # of the columns, those of the base camera: its offset and drift are given


@dataclass(frozen=True)
class Member:
    """One camera in the fit: its track, its rough place and which flash each event is."""

    track: FlashTrack
    offset_ns: float
    drift: float
    origin_ns: int
    flash_of: Sequence[int]
    """flash index of each event of the track"""


@dataclass(frozen=True)
class Equation:
    """One edge: whose it is, and of which flash."""

    camera: int
    flash: int
    edge: Edge
    frame_time_ns: int


class System:
    """The linear equations, in milliseconds and ppm."""

    def __init__(self, members: Sequence[Member], base: int) -> None:
        self.members = members
        self.base = base
        self.equations = [
            Equation(index, flash, edge, time)
            for index, member in enumerate(members)
            for event, flash in zip(member.track.events, member.flash_of, strict=True)
            for edge, time in zip(event.edges, event.edge_times_ns, strict=True)
        ]
        flashes = sorted({equation.flash for equation in self.equations})
        first = PER_CAMERA * len(members)
        self.column = {flash: first + k for k, flash in enumerate(flashes)}
        self.width = first + len(flashes)
        rows = [self._data_row(equation) for equation in self.equations]
        self.matrix = np.array([row for row, _, _ in rows]).reshape(-1, self.width)
        self.target = np.array([target for _, target, _ in rows])
        self.sigma = np.array([sigma for _, _, sigma in rows])
        self.prior, self.prior_target = self._prior()

    def _data_row(self, equation: Equation) -> tuple[Float64, float, float]:
        member, edge = self.members[equation.camera], equation.edge
        row = np.zeros(self.width)
        own = row[PER_CAMERA * equation.camera :][:PER_CAMERA]
        elapsed_ms = (equation.frame_time_ns - member.origin_ns) / MS
        own[:] = [
            1.0,
            PPM_MS * elapsed_ms,
            edge.row,
            -1.0 if edge.kind is Kind.TRAIL else 0.0,
        ]
        if equation.camera == self.base:  # its clock is the timeline
            own[[OFFSET, DRIFT]] = 0.0
        row[self.column[equation.flash]] = -1.0
        rough_ms = (equation.frame_time_ns + member.offset_ns) / MS + member.drift * elapsed_ms
        line = member.track.shutter.line_time_ns
        step = member.track.time_step_ns
        sigma = np.hypot(np.hypot(edge.sigma * line, EDGE_FLOOR_NS), step / np.sqrt(12))
        return row, -rough_ms, float(sigma) / MS

    def _prior(self) -> tuple[Float64, Float64]:
        """Rows already divided by their sigmas."""
        rows, targets = [], []
        for index, member in enumerate(self.members):
            period_ms = member.track.period_ns / MS
            line_ms = period_ms / member.track.height
            knowledge = [
                (LINE, READOUT_SHARE[0] * line_ms, READOUT_SHARE[1] * line_ms),
                (EXPOSURE, EXPOSURE_SHARE[0] * period_ms, EXPOSURE_SHARE[1] * period_ms),
                (DRIFT, -member.drift / PPM_MS, DRIFT_SPREAD_PPM),
            ]
            if index == self.base:
                knowledge[-1] = (DRIFT, 0.0, 1.0)
                knowledge.append((OFFSET, 0.0, 1.0))
            for parameter, mean, sigma in knowledge:
                row = np.zeros(self.width)
                row[PER_CAMERA * index + parameter] = 1 / sigma
                rows.append(row)
                targets.append(mean / sigma)
        for column in self.column.values():  # keeps a flash whose edges are all let go of finite
            row = np.zeros(self.width)
            row[column] = 1 / FLASH_SPREAD_MS
            rows.append(row)
            targets.append(0.0)
        return np.array(rows), np.array(targets)

    def solve(self, weights: Float64) -> Float64:
        """Weighted least squares; weights multiply the inverse variances."""
        root = np.sqrt(weights) / self.sigma
        matrix = np.vstack([self.matrix * root[:, None], self.prior])
        target = np.concatenate([self.target * root, self.prior_target])
        solution: Float64 = np.linalg.lstsq(matrix, target, rcond=None)[0]
        return solution

    def residuals(self, solution: Float64) -> Float64:
        """Misfit of each equation, in sigmas."""
        misfit: Float64 = (self.matrix @ solution - self.target) / self.sigma
        return misfit

    def parameters(self, weights: Float64) -> float:
        """Numbers that the data fix: what the priors know counts in part (trace of the hat)."""
        rows = self.matrix * (np.sqrt(weights) / self.sigma)[:, None]
        return float(np.sum((rows @ self.covariance(weights)) * rows))

    def covariance(self, weights: Float64) -> Float64:
        """Inverse of the weighted normal matrix."""
        root = np.sqrt(weights) / self.sigma
        matrix = np.vstack([self.matrix * root[:, None], self.prior])
        _, triangle = np.linalg.qr(matrix)
        root_inverse = np.linalg.inv(triangle)
        inverse: Float64 = root_inverse @ root_inverse.T
        return inverse
