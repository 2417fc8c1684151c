"""What a solution is worth: timelines with bounds, and the numbers that a person judges by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from multiview.flash._equations import DRIFT, EXPOSURE, LINE, OFFSET
from multiview.flash._errors import WeakFlashError
from multiview.flash._fit import CameraFit
from multiview.flash._solution import Solution
from multiview.flash._track import FlashTrack
from multiview.timeline import Evidence, Timeline, TimelineSet, as_covariance

MAX_BOUND_NS = 5e6  # a wider 99 % bound does not tell neighbouring frames of 100 fps apart


@dataclass(frozen=True)
class CameraVerdict:
    """How well the flashes fix one camera."""

    flashes: int
    """flashes seen"""
    common: int
    """of them with row edges and seen by another camera too"""
    edges: int
    rejected: int
    """edges that were not believed"""
    rms_us: float
    """misfit of the believed edges"""
    bound_us: float
    """largest 99 % bound of a row's time over the whole footage"""
    offset_s: float
    """time on the base camera's clock at this camera's time 0"""
    drift_ppm: float
    drift_sigma_ppm: float
    line_time_us: float
    line_time_sigma_us: float
    exposure_ms: float
    exposure_sigma_ms: float
    upside_down: bool
    log10_nfa: float | None
    """logarithm of how many such agreements chance would bring; None for the base camera"""


def judge(solution: Solution, max_bound_ns: float = MAX_BOUND_NS) -> TimelineSet:
    """Return the cameras' timelines with a verdict each in ``extra``.

    Raises WeakFlashError if a row's time is less certain than ``max_bound_ns`` (99 %).
    """
    lines: dict[str, Timeline] = {}
    verdicts: dict[str, CameraVerdict] = {}
    for name, member in solution.members.items():
        lines[name] = timeline(solution.fit.cameras[name], member.track)
        verdicts[name] = _verdict(name, solution, lines[name])
        if verdicts[name].bound_us * 1e3 > max_bound_ns:
            raise WeakFlashError(
                f"{name}: its flashes fix its rows to ±{verdicts[name].bound_us / 1e3:.1f} ms only "
                f"({verdicts[name].common} common flashes, limit ±{max_bound_ns / 1e6:g} ms)",
                hint="fire more flashes, at the beginning and the end too, or allow a larger bound",
            )
    extra = {"flash": {name: asdict(verdict) for name, verdict in verdicts.items()}}
    return TimelineSet(lines, solution.base, extra)


def verdicts_of(lines: TimelineSet) -> Mapping[str, CameraVerdict]:
    """Return the verdicts that ``judge`` kept beside the timelines."""
    found: Mapping[str, Mapping[str, Any]] = lines.extra.get("flash", {})
    return {name: CameraVerdict(**numbers) for name, numbers in found.items()}


def describe(name: str, verdict: CameraVerdict, is_base: bool) -> str:
    """Return one line for a person."""
    place = (
        "base camera"
        if is_base
        else f"time offset {verdict.offset_s:+.6f} s, clock drift {verdict.drift_ppm:+.2f} ppm"
    )
    return (
        f"{name}: {place}, time per sensor row {abs(verdict.line_time_us):.2f} us, "
        f"exposure {verdict.exposure_ms:.2f} ms, {verdict.common} common flashes, "
        f"99 % bound {verdict.bound_us / 1e3:.3f} ms"
        + (", upside down" if verdict.upside_down else "")
    )


def timeline(camera: CameraFit, track: FlashTrack) -> Timeline:
    """Return the fit as a timeline over picture rows."""
    jacobian = np.zeros((3, 4))
    jacobian[0, OFFSET] = jacobian[1, DRIFT] = jacobian[2, LINE] = 1.0
    start, line = 0.0, camera.line_time_ns
    if track.upside_down:  # picture row r is the sensor's line height − 1 − r
        last = track.height - 1
        start, line = last * line, -line
        jacobian[0, LINE], jacobian[2, LINE] = last, -1.0
    return Timeline(
        origin_ns=camera.origin_ns,
        at_origin_ns=camera.origin_ns + round(camera.offset_ns + start),
        drift=camera.drift,
        line_time_ns=line,
        covariance=as_covariance(jacobian @ camera.covariance @ jacobian.T),
        evidence=Evidence.FLASH,
    )


def _verdict(name: str, solution: Solution, line: Timeline) -> CameraVerdict:
    camera, track = solution.fit.cameras[name], solution.members[name].track
    sigma = np.sqrt(np.diag(camera.covariance))
    corners = [(t, row) for t in (track.start_ns, track.end_ns) for row in (0, track.height - 1)]
    joined = solution.joined.get(name)
    return CameraVerdict(
        flashes=len(track.events),
        common=len(solution.common_flashes(name)),
        edges=track.edge_count,
        rejected=camera.rejected,
        rms_us=float(np.sqrt(np.mean(camera.residuals_ns**2))) / 1e3,
        bound_us=max(line.bound_ns(t, row) for t, row in corners) / 1e3,
        offset_s=line.b_ns / 1e9,
        drift_ppm=camera.drift * 1e6,
        drift_sigma_ppm=float(sigma[DRIFT]) * 1e6,
        line_time_us=line.line_time_ns / 1e3,
        line_time_sigma_us=float(sigma[LINE]) / 1e3,
        exposure_ms=camera.exposure_ns / 1e6,
        exposure_sigma_ms=float(sigma[EXPOSURE]) / 1e6,
        upside_down=track.upside_down,
        log10_nfa=None if joined is None else joined.log10_nfa,
    )
