"""Whether cameras that were fitted together agree: refusals with their reasons."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import poisson

from multiview.flash._errors import InconsistentFlashError, NoFlashError
from multiview.flash._solution import Solution, fitted_time, with_edges
from multiview.flash._track import FlashTrack

Float64 = npt.NDArray[np.float64]

MIN_EVENTS = 3  # flashes per camera: fewer cannot show an agreement beyond chance
AGREEING_SHARE = 0.85  # of roughly common flashes; chance adds few, a wrong model loses many
REJECTED_SHARE = 0.3  # of the redundancy: dropping more would make anything agree
MAX_RMS_NS = 1e6  # of the believed edges
READOUT_LIMIT = 1.05  # frame periods that all rows may take at most
MAX_CHANCE = 0.01  # of unrelated flashes lying near to each other as often


def check_track(name: str, track: FlashTrack) -> None:
    """Raise NoFlashError if a video alone shows too little."""
    if len(track.events) < MIN_EVENTS:
        raise NoFlashError(
            f"{name}: {len(track.events)} flashes found, at least {MIN_EVENTS} are needed",
            hint="fire more flashes that light most of the picture of every camera",
        )
    if track.edge_count < MIN_EVENTS:
        raise NoFlashError(
            f"{name}: {len(track.events)} flashes found, but only {track.edge_count} edges "
            "between lit and dark rows",
            hint="a global shutter or a very short readout shows none; use audio instead",
        )


def check_fit(name: str, solution: Solution, max_drift: float) -> None:
    """Raise InconsistentFlashError if a camera contradicts the others, or is like no camera."""
    problem = (
        _clash(name, solution)
        or _near_misses(name, solution)
        or _strange_camera(name, solution, max_drift)
    )
    if problem:
        raise InconsistentFlashError(
            f"{name}: {problem}",
            hint="stabilised, re-timed or cropped video has no simple clock and shutter any more",
        )


def _clash(name: str, solution: Solution) -> str:
    """How a camera's flashes contradict the others', if they do."""
    common, roughly = len(solution.common_flashes(name)), solution.rough_common.get(name, 0)
    rejected = sum(camera.rejected for camera in solution.fit.cameras.values())
    if len(solution.members) > 1 and common < MIN_EVENTS:
        return f"only {common} flashes agree with other cameras to the row"
    if common < AGREEING_SHARE * roughly:
        return f"of {roughly} flashes that agree roughly, only {common} agree to the row"
    if rejected > max(1, REJECTED_SHARE * solution.fit.redundancy):
        return f"{rejected} edges contradict the others"
    return ""


def _near_misses(name: str, solution: Solution) -> str:
    """Whether flashes that only some saw lie so near to each other that they should be one.

    Unrelated flashes do so by chance only; frame times that are wrong do it again and again.
    """
    members, track = solution.members, solution.members[name].track
    seen = with_edges(members[name])
    mine = _instants(name, solution, seen - solution.common_flashes(name))
    theirs = [_instants(n, solution, with_edges(m) - seen) for n, m in members.items()]
    others = np.concatenate(theirs)
    if not (len(mine) and len(others)):
        return ""
    nearest = np.abs(mine[:, None] - others[None, :]).min(axis=1)
    near = int((nearest < track.period_ns).sum())
    by_chance = len(mine) * len(others) * 2 * track.period_ns / (track.end_ns - track.start_ns)
    if near and poisson.sf(near - 1, by_chance) < MAX_CHANCE:
        return f"{near} flashes miss other cameras' by less than a frame: some times are wrong"
    return ""


def _instants(name: str, solution: Solution, flashes: set[int]) -> Float64:
    """When a camera saw some flashes, by the fit (ns)."""
    member, camera = solution.members[name], solution.fit.cameras[name]
    events = zip(member.track.events, member.flash_of, strict=True)
    chosen = [event for event, flash in events if event.edges and flash in flashes]
    return np.array([fitted_time(event, camera) for event in chosen], dtype=np.float64)


def _strange_camera(name: str, solution: Solution, max_drift: float) -> str:
    """What no camera does, if the fit says that this one does."""
    camera, track = solution.fit.cameras[name], solution.members[name].track
    readout = camera.line_time_ns * track.height / track.period_ns
    rms_ns = float(np.sqrt(np.mean(camera.residuals_ns**2))) if len(camera.residuals_ns) else 0.0
    if rms_ns > MAX_RMS_NS:
        return f"edges scatter by {rms_ns / 1e6:.1f} ms"
    if not 0 < readout < READOUT_LIMIT:
        return f"the rows would take {readout:.2f} frame periods to read"
    if abs(camera.drift) > max_drift:
        return f"its clock would drift by {camera.drift * 1e6:+.0f} ppm"
    return ""
