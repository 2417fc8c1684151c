"""From the flashes of all videos to one answer, or to a refusal with its reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from multiview.flash._edges import Kind
from multiview.flash._errors import (
    AmbiguousFlashError,
    InconsistentFlashError,
    NoCommonFlashError,
    NoFlashError,
)
from multiview.flash._fit import CameraFit, JointFit, Member, fit
from multiview.flash._matching import (
    MAX_LOG10_NFA,
    Alignment,
    EventTimes,
    Window,
    alignments,
    rivals,
)
from multiview.flash._track import FlashEvent, FlashTrack

MIN_EVENTS = 3  # flashes per camera: fewer cannot show an agreement beyond chance
MAX_DRIFT = 500e-6  # of one camera's clock against another's; crystals keep 100 ppm
AGREEING_SHARE = 0.85  # of roughly common flashes; chance adds few, a wrong model loses many
REJECTED_SHARE = 0.3  # of the redundancy: dropping more would make anything agree
MAX_RMS_NS = 1e6  # of the believed edges
READOUT_LIMIT = 1.05  # frame periods that all rows may take at most
SAME_FLASH_NS = 2e6  # events that the fit puts so near to each other are one flash


@dataclass(frozen=True)
class Solution:
    """Cameras on one timeline, and how they were found to belong together."""

    base: str
    fit: JointFit
    members: Mapping[str, Member]
    joined: Mapping[str, Alignment]
    """the alignment by which each camera but the base was joined to those before it"""
    rough_common: Mapping[str, int]
    """flashes with edges that each of them shared with others before the fit looked closer"""

    def common_flashes(self, name: str) -> set[int]:
        """Return the flashes with edges that this and another camera saw."""
        return _common(self.members, name)


def _common(members: Mapping[str, Member], name: str) -> set[int]:
    mine = _with_edges(members[name])
    others = [_with_edges(member) for other, member in members.items() if other != name]
    return mine & set().union(*others)


def _with_edges(member: Member) -> set[int]:
    events = zip(member.track.events, member.flash_of, strict=True)
    return {flash for event, flash in events if event.edges}


def solve(
    tracks: Mapping[str, FlashTrack],
    base: str,
    windows: Mapping[str, Window] | None = None,
    max_drift: float = MAX_DRIFT,
) -> Solution:
    """Find which flashes are the same and fit all cameras together.

    ``windows`` holds what is known of a camera's time minus the base camera's, if anything.

    Raises NoFlashError, NoCommonFlashError, AmbiguousFlashError or InconsistentFlashError.
    """
    for name, track in tracks.items():
        _check_track(name, track)
    members = {base: _alone(tracks[base])}
    joined: dict[str, Alignment] = {}
    rough_common: dict[str, int] = {}
    current = fit(members, base)
    while len(members) < len(tracks):
        name, members[name], joined[name] = _next(
            members, current, _candidates(members, tracks, current, windows or {}, max_drift)
        )
        rough_common[name] = len(_common(members, name))
        members = _renumbered(members, fit(members, base))
        current = fit(members, base)
    solution = Solution(base, current, members, joined, rough_common)
    for name in tracks:
        _check_fit(name, solution, max_drift)
    return solution


def _check_track(name: str, track: FlashTrack) -> None:
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


def _check_fit(name: str, solution: Solution, max_drift: float) -> None:
    problem = _clash(name, solution) or _strange_camera(name, solution, max_drift)
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


def _alone(track: FlashTrack) -> Member:
    middle = (track.start_ns + track.end_ns) // 2
    return Member(track, 0.0, 0.0, middle, tuple(range(len(track.events))))


@dataclass(frozen=True)
class _Candidate:
    """A camera not yet joined, and the ways to lay it on the timeline, best first."""

    name: str
    track: FlashTrack
    ranked: Sequence[Alignment]

    @property
    def log10_nfa(self) -> float:
        return self.ranked[0].log10_nfa if self.ranked else np.inf

    @property
    def rivals(self) -> list[Alignment]:
        return rivals(self.ranked) if self.ranked else []


def _candidates(
    members: Mapping[str, Member],
    tracks: Mapping[str, FlashTrack],
    fit: JointFit,
    windows: Mapping[str, Window],
    max_drift: float,
) -> list[_Candidate]:
    flashes, _ = _timeline_flashes(members, fit)
    return [
        _Candidate(name, track, alignments(flashes, _events(track), max_drift, windows.get(name)))
        for name, track in tracks.items()
        if name not in members
    ]


def _next(
    members: Mapping[str, Member], fit: JointFit, candidates: Sequence[_Candidate]
) -> tuple[str, Member, Alignment]:
    """The camera that agrees best with those already joined, unambiguous ones first."""
    best = min(candidates, key=lambda c: (bool(c.rivals), c.log10_nfa))
    if best.log10_nfa > MAX_LOG10_NFA:
        raise _no_common(best)
    if best.rivals:
        raise _ambiguous(best)
    _, numbers = _timeline_flashes(members, fit)
    alignment = best.ranked[0]
    return best.name, _placed(best.track, alignment, numbers), alignment


def _no_common(candidate: _Candidate) -> NoCommonFlashError:
    agreeing = len(candidate.ranked[0].pairs) if candidate.ranked else 0
    return NoCommonFlashError(
        f"{candidate.name}: at best {agreeing} of its {len(candidate.track.events)} flashes fall "
        "together with those of the other videos, which unrelated flashes would do as well",
        hint="check that all videos show the same event; five common flashes are a good number",
    )


def _ambiguous(candidate: _Candidate) -> AmbiguousFlashError:
    best, other = candidate.ranked[0], candidate.rivals[0]
    shift_s = abs(other.offset_ns - best.offset_ns) / 1e9
    return AmbiguousFlashError(
        f"{candidate.name}: {len(best.pairs)} flashes agree, but shifted by {shift_s:.2f} s "
        f"{len(other.pairs)} agree as well",
        hint="flashes at even intervals cannot tell one from the next: fire them irregularly, "
        "or give a rough offset",
    )


def _placed(track: FlashTrack, alignment: Alignment, numbers: Sequence[int]) -> Member:
    """Lay a camera on the timeline by its alignment; flashes that only it saw get new numbers."""
    alone = _alone(track)
    base_ns = alone.origin_ns - alignment.offset_ns
    first_new = max(numbers) + 1
    flash_of = [first_new + event for event in range(len(track.events))]
    for flash, event in alignment.pairs:
        flash_of[event] = numbers[flash]
    return replace(alone, offset_ns=-alignment.offset_at(base_ns), flash_of=tuple(flash_of))


def _events(track: FlashTrack) -> EventTimes:
    times = np.array([(event.time_ns, event.sigma_ns) for event in track.events])
    times = times[np.argsort(times[:, 0])]
    return EventTimes(times[:, 0], times[:, 1], track.start_ns, track.end_ns)


def _timeline_flashes(
    members: Mapping[str, Member], fit: JointFit
) -> tuple[EventTimes, tuple[int, ...]]:
    """All flashes that the joined cameras saw, on the base camera's clock, and their numbers."""
    best: dict[int, tuple[float, float]] = {}
    for name, member in members.items():
        for event, flash in zip(member.track.events, member.flash_of, strict=True):
            found = (event.sigma_ns, _on_base(event.time_ns, fit.cameras[name]))
            best[flash] = min(found, best.get(flash, found))
    for flash, (time, sigma) in fit.flashes.items():
        best[flash] = (sigma, time)
    ordered = sorted((time, sigma, flash) for flash, (sigma, time) in best.items())
    times, sigmas, numbers = zip(*ordered, strict=True)
    starts = [_on_base(m.track.start_ns, fit.cameras[n]) for n, m in members.items()]
    ends = [_on_base(m.track.end_ns, fit.cameras[n]) for n, m in members.items()]
    return EventTimes(np.array(times), np.array(sigmas), min(starts), max(ends)), numbers


def _on_base(time_ns: float, camera: CameraFit) -> float:
    return time_ns + camera.offset_ns + camera.drift * (time_ns - camera.origin_ns)


def _renumbered(members: Mapping[str, Member], fit: JointFit) -> dict[str, Member]:
    """Let events that the fit puts at one instant be one flash, and others not."""
    placed = sorted(
        (_fitted_time(event, fit.cameras[name]), name, index)
        for name, member in members.items()
        for index, event in enumerate(member.track.events)
    )
    numbers: dict[tuple[str, int], int] = {}
    number, begun, seen = -1, -np.inf, set[str]()
    for time, name, index in placed:
        if time - begun > SAME_FLASH_NS or name in seen:
            number, begun, seen = number + 1, time, set()
        seen.add(name)
        numbers[name, index] = number
    return {
        name: replace(
            member, flash_of=tuple(numbers[name, k] for k in range(len(member.track.events)))
        )
        for name, member in members.items()
    }


def _fitted_time(event: FlashEvent, camera: CameraFit) -> float:
    """Instant of an event on the base camera's clock by the fitted shutter."""
    if not event.edges:
        return _on_base(event.time_ns, camera)
    edge, time = event.edges[0], event.edge_times_ns[0]
    exposure = camera.exposure_ns if edge.kind is Kind.TRAIL else 0.0
    return _on_base(time, camera) + edge.row * camera.line_time_ns - exposure
