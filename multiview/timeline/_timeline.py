"""The map of one source's time onto the common timeline."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from multiview.timeline._covariance import (
    ZERO_COVARIANCE,
    Covariance,
    Float64,
    as_covariance,
    check_covariance,
    correlation,
)
from multiview.timeline._errors import TimelineError

Int64 = npt.NDArray[np.int64]

MAX_DRIFT = 0.5
"""Beyond it a "clock" is a slow-motion recording or a mistake, not a drifting crystal."""


class Evidence(StrEnum):
    """What put a source on the timeline."""

    CONTAINER = "container"
    """only the file's own time stamps: nothing says how sources relate"""
    EMBEDDED = "embedded"
    """the rig's in-stream frame evidence"""
    RTCP = "rtcp"
    """RTCP sender reports"""
    FLASH = "flash"
    """photographic flashes"""
    AUDIO = "audio"
    """sound that several sources recorded"""
    COMBINED = "combined"
    """more than one of these"""
    GIVEN = "given"
    """the user's word"""


@dataclass(frozen=True, slots=True)
class Timeline:
    """Map of one source's time (and row) onto the common timeline, with its uncertainty.

    ``t = at_origin_ns + (1 + drift)·(t_source − origin_ns) + row·line_time_ns``

    Raises TimelineError when a number is not finite or the covariance is not one.
    """

    origin_ns: int = 0
    """source time (ns) that the offset and the covariance refer to"""
    at_origin_ns: int = 0
    """instant on the common timeline (ns) of row 0 at ``origin_ns``"""
    drift: float = 0.0
    """a − 1: how much faster the common timeline runs than the source's clock"""
    line_time_ns: float = 0.0
    """T_row; negative for a picture that was recorded upside down, 0 for a global shutter"""
    covariance: Covariance = ZERO_COVARIANCE
    """3×3 of (offset ns, drift, line time ns) at ``origin_ns``"""
    evidence: Evidence = Evidence.CONTAINER

    def __post_init__(self) -> None:
        if not np.isfinite([self.drift, self.line_time_ns]).all():
            raise TimelineError("a timeline needs a finite drift and line time")
        if abs(self.drift) > MAX_DRIFT:
            raise TimelineError(f"a drift of {self.drift:+g} is no clock's (limit ±{MAX_DRIFT})")
        check_covariance(np.asarray(self.covariance, dtype=np.float64))

    @classmethod
    def shifted(
        cls, offset_ns: int, sigma_ns: float = 0.0, evidence: Evidence = Evidence.GIVEN
    ) -> Timeline:
        """Return a timeline ``offset_ns`` after the source's own, without drift."""
        covariance = ((float(sigma_ns) ** 2, 0.0, 0.0), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
        return cls(at_origin_ns=offset_ns, covariance=covariance, evidence=evidence)

    @property
    def a(self) -> float:
        """Rate of the common timeline per unit of source time."""
        return 1.0 + self.drift

    @property
    def b_ns(self) -> int:
        """Instant on the common timeline (ns) of source time 0, row 0."""
        return self.at(0)

    def at(self, source_ns: int, row: float = 0.0) -> int:
        """Return the instant (ns) of ``row`` of the frame stamped ``source_ns``."""
        elapsed = source_ns - self.origin_ns
        return self.at_origin_ns + elapsed + round(self.drift * elapsed + row * self.line_time_ns)

    def at_many(self, source_ns: Int64, row: float = 0.0) -> Int64:
        """Return ``at`` of every time of an int64 array."""
        elapsed = np.asarray(source_ns, dtype=np.int64) - self.origin_ns
        correction = np.rint(self.drift * elapsed + row * self.line_time_ns).astype(np.int64)
        instants: Int64 = self.at_origin_ns + elapsed + correction
        return instants

    def source_time(self, instant_ns: int, row: float = 0.0) -> int:
        """Return the source time (ns) whose ``row`` lies at ``instant_ns``; inverse of ``at``."""
        elapsed = instant_ns - self.at_origin_ns
        # (1 + d)·x = e − row·T  ⇔  x = e − (d·e + row·T)/(1 + d): keeps the large part in integers
        correction = (self.drift * elapsed + row * self.line_time_ns) / self.a
        return self.origin_ns + elapsed - round(correction)

    def sigma_ns(self, source_ns: int, row: float = 0.0) -> float:
        """Return the standard uncertainty (ns) of ``at(source_ns, row)``."""
        gradient = np.array([1.0, float(source_ns - self.origin_ns), row])
        variance = float(gradient @ np.asarray(self.covariance) @ gradient)
        return math.sqrt(max(variance, 0.0))

    def bound_ns(self, source_ns: int, row: float = 0.0, confidence: float = 0.99) -> float:
        """Return the half width (ns) of the two-sided interval that holds the true instant."""
        if not 0 < confidence < 1:
            raise TimelineError(f"a confidence lies between 0 and 1, not at {confidence}")
        return NormalDist().inv_cdf((1 + confidence) / 2) * self.sigma_ns(source_ns, row)

    def rebased(self, origin_ns: int) -> Timeline:
        """Return the same map with its offset and covariance stated at another source time."""
        jacobian = np.eye(3)
        jacobian[0, 1] = origin_ns - self.origin_ns
        moved = jacobian @ np.asarray(self.covariance) @ jacobian.T
        return replace(
            self,
            origin_ns=origin_ns,
            at_origin_ns=self.at(origin_ns),
            covariance=as_covariance(moved),
        )

    def distance(self, other: Timeline) -> float:
        """Return the Mahalanobis distance between two estimates for one source.

        Its square follows a chi-square law of at most three degrees of freedom if both are right.
        """
        difference, total = self._difference(other)
        scale = np.sqrt(np.maximum(np.diag(total), np.finfo(float).tiny))
        whitened = difference / scale
        squared = float(whitened @ np.linalg.pinv(correlation(total)) @ whitened)
        return math.sqrt(max(squared, 0.0))

    def combined(self, other: Timeline) -> Timeline:
        """Fuse two independent estimates for one source, each by its certainty (Kalman update)."""
        difference, total = self._difference(other)
        mine = np.asarray(self.covariance)
        scale = np.sqrt(np.maximum(np.diag(total), np.finfo(float).tiny))
        inverse = np.linalg.pinv(correlation(total)) / np.outer(scale, scale)
        gain = mine @ inverse
        offset, drift, line_time = gain @ difference
        return replace(
            self,
            at_origin_ns=self.at_origin_ns + round(offset),
            drift=self.drift + float(drift),
            line_time_ns=self.line_time_ns + float(line_time),
            covariance=as_covariance(mine - gain @ mine),
            evidence=self.evidence if self.evidence == other.evidence else Evidence.COMBINED,
        )

    def _difference(self, other: Timeline) -> tuple[Float64, Float64]:
        """Parameters of ``other`` minus mine at my origin, and the covariance of that."""
        there = other.rebased(self.origin_ns)
        difference = np.array(
            [
                float(there.at_origin_ns - self.at_origin_ns),
                there.drift - self.drift,
                there.line_time_ns - self.line_time_ns,
            ]
        )
        return difference, np.asarray(self.covariance) + np.asarray(there.covariance)

    def as_dict(self) -> dict[str, Any]:
        """Return plain numbers, lists and strings that ``from_dict`` restores exactly."""
        return {
            "origin_ns": self.origin_ns,
            "at_origin_ns": self.at_origin_ns,
            "drift": self.drift,
            "line_time_ns": self.line_time_ns,
            "covariance": [list(row) for row in self.covariance],
            "evidence": self.evidence.value,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Timeline:
        """Restore a timeline; TimelineError names what is missing or malformed."""
        try:
            return cls(
                origin_ns=int(data["origin_ns"]),
                at_origin_ns=int(data["at_origin_ns"]),
                drift=float(data["drift"]),
                line_time_ns=float(data["line_time_ns"]),
                covariance=as_covariance(np.asarray(data["covariance"], dtype=np.float64)),
                evidence=Evidence(data["evidence"]),
            )
        except KeyError as error:
            raise TimelineError(f"a timeline lacks {error}") from error
        except (TypeError, ValueError) as error:
            raise TimelineError(f"a timeline has a malformed value: {error}") from error
