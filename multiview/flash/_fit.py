"""Clocks and shutters of all cameras, and the instants of all flashes, in one robust fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import norm, t

from multiview.flash._equations import (
    DRIFT,
    FLASH_SPREAD_MS,
    MS,
    OFFSET,
    OWN_CLOCK,
    PER_CAMERA,
    PPM_MS,
    Member,
    System,
)

Float64 = npt.NDArray[np.float64]

COMMON_FLOOR_NS = 20_000.0  # what texture leaves in all edges of one camera alike
HUBER = 1.5  # sigmas; first rounds: outliers pull, but no more than linearly
TUKEY = 6.0  # sigmas; last rounds: outliers do not pull at all
ROUNDS = 12  # of each
CONFIDENCE = 0.99


@dataclass(frozen=True)
class CameraFit:
    """One camera's clock and shutter, with the 4×4 covariance of the four numbers."""

    origin_ns: int
    offset_ns: float
    """what to add to the camera's time at ``origin_ns`` for the base camera's clock"""
    drift: float
    line_time_ns: float
    exposure_ns: float
    covariance: Float64
    residuals_ns: Float64
    """misfit of each edge that was believed"""
    rejected: int
    """edges that were not believed"""


@dataclass(frozen=True)
class JointFit:
    """All cameras and flashes on the base camera's clock."""

    cameras: Mapping[str, CameraFit]
    flashes: Mapping[int, tuple[float, float]]
    """instant and standard uncertainty (ns) of each flash with an edge that was believed"""
    redundancy: int
    """equations beyond the unknowns: what there is to find contradictions by"""


def fit(members: Mapping[str, Member], base: str) -> JointFit:
    """Fit all cameras' clocks and shutters and all flashes' instants."""
    names = list(members)
    system = System(list(members.values()), names.index(base))
    solution, weights = _robust(system)
    misfit = system.residuals(solution)
    scatter, student = _scatter(system, misfit, weights)
    covariance = system.covariance(weights) * scatter * student
    stamp_variance = (scatter - 1) * student * float(np.mean(system.sigma**2)) * MS**2
    cameras = {
        name: _camera(system, index, solution, covariance, misfit, weights > 0, stamp_variance)
        for index, name in enumerate(names)
    }
    flashes = {
        number: (solution[column] * MS, float(np.sqrt(covariance[column, column])) * MS)
        for number, column in system.column.items()
        if covariance[column, column] < FLASH_SPREAD_MS
    }
    return JointFit(cameras, flashes, len(system.equations) - system.width + OWN_CLOCK)


def _robust(system: System) -> tuple[Float64, Float64]:
    """Reweight: first Huber from wherever the rough offsets are, then Tukey to drop outliers."""
    weights = np.ones(len(system.equations))
    left = max(len(weights) - system.parameters(weights), 1.0)
    widening = 1.4826 * np.sqrt(len(weights) / left)  # the fit took up part of the scatter
    for cut, law in [(HUBER, _huber)] * ROUNDS + [(TUKEY, _tukey)] * ROUNDS:
        misfit = system.residuals(system.solve(weights))
        spread = max(float(np.median(np.abs(misfit))) * widening, 1.0) if len(misfit) else 1.0
        weights = law(misfit / spread, cut)
    return system.solve(weights), weights


def _huber(misfit: Float64, cut: float) -> Float64:
    return np.minimum(1.0, cut / np.maximum(np.abs(misfit), 1e-12))


def _tukey(misfit: Float64, cut: float) -> Float64:
    return np.where(np.abs(misfit) < cut, (1 - (misfit / cut) ** 2) ** 2, 0.0)


def _scatter(system: System, misfit: Float64, weights: Float64) -> tuple[float, float]:
    """How much more the data scatter (variance) than they should, and Student's law for few data.

    An edge that was not believed still speaks against the model: it counts as much as the worst
    that is. The second factor makes the normal 99 % bound a 99 % bound of Student's law.
    """
    freedom = max(float(weights.sum()) - system.parameters(weights), 1.0)
    believed = np.abs(misfit[weights > 0])
    counted = np.minimum(np.abs(misfit), max(believed.max(initial=0.0), TUKEY))
    scatter = max(float(counted @ counted) / freedom, 1.0)
    quantile = (1 + CONFIDENCE) / 2
    return scatter, float(t.ppf(quantile, freedom) / norm.ppf(quantile)) ** 2


def _camera(
    system: System,
    index: int,
    solution: Float64,
    covariance: Float64,
    misfit: Float64,
    believed: npt.NDArray[np.bool_],
    stamp_variance: float,
) -> CameraFit:
    """One camera's part; ``stamp_variance`` (ns²) is scatter that only frame times explain."""
    member = system.members[index]
    own = slice(PER_CAMERA * index, PER_CAMERA * (index + 1))
    unit = np.array([MS, PPM_MS, MS, MS])
    offset, drift, line, exposure = solution[own] * unit
    spread = covariance[own, own] * np.outer(unit, unit)
    if index == system.base:
        spread[[OFFSET, DRIFT], :] = spread[:, [OFFSET, DRIFT]] = 0.0
    else:
        spread[OFFSET, OFFSET] += COMMON_FLOOR_NS**2
    spread[OFFSET, OFFSET] += stamp_variance
    mine = np.array([equation.camera == index for equation in system.equations], dtype=np.bool_)
    kept = mine & believed
    return CameraFit(
        member.origin_ns,
        member.offset_ns + float(offset),
        member.drift + float(drift),
        float(line),
        float(exposure),
        spread,
        misfit[kept] * system.sigma[kept] * MS,
        int((mine & ~believed).sum()),
    )
