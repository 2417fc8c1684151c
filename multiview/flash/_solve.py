"""From the flashes of all videos to one answer, or to a refusal with its reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from multiview.flash._consistency import check_fit, check_track
from multiview.flash._equations import Member
from multiview.flash._errors import (
    AmbiguousFlashError,
    NoCommonFlashError,
)
from multiview.flash._fit import JointFit, fit
from multiview.flash._matching import (
    MAX_LOG10_NFA,
    Alignment,
    EventTimes,
    Window,
    alignments,
    rivals,
)
from multiview.flash._solution import Solution, common, fitted_time, on_base
from multiview.flash._track import FlashTrack

MAX_DRIFT = 500e-6  # of one camera's clock against another's; crystals keep 100 ppm
SAME_FLASH_NS = 2e6  # events that the fit puts so near to each other are one flash


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
        check_track(name, track)
    members = {base: _alone(tracks[base])}
    joined: dict[str, Alignment] = {}
    rough_common: dict[str, int] = {}
    current = fit(members, base)
    while len(members) < len(tracks):
        name, members[name], joined[name] = _next(
            members, current, _candidates(members, tracks, current, windows or {}, max_drift)
        )
        rough_common[name] = len(common(members, name))
        members = _renumbered(members, fit(members, base))
        current = fit(members, base)
    solution = Solution(base, current, members, joined, rough_common)
    for name in tracks:
        check_fit(name, solution, max_drift)
    return solution


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
        raise _nocommon(best)
    if best.rivals:
        raise _ambiguous(best)
    _, numbers = _timeline_flashes(members, fit)
    alignment = best.ranked[0]
    return best.name, _placed(best.track, alignment, numbers), alignment


def _nocommon(candidate: _Candidate) -> NoCommonFlashError:
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
            found = (event.sigma_ns, on_base(event.time_ns, fit.cameras[name]))
            best[flash] = min(found, best.get(flash, found))
    for flash, (time, sigma) in fit.flashes.items():
        best[flash] = (sigma, time)
    ordered = sorted((time, sigma, flash) for flash, (sigma, time) in best.items())
    times, sigmas, numbers = zip(*ordered, strict=True)
    starts = [on_base(m.track.start_ns, fit.cameras[n]) for n, m in members.items()]
    ends = [on_base(m.track.end_ns, fit.cameras[n]) for n, m in members.items()]
    return EventTimes(np.array(times), np.array(sigmas), min(starts), max(ends)), numbers


def _renumbered(members: Mapping[str, Member], fit: JointFit) -> dict[str, Member]:
    """Let events that the fit puts at one instant be one flash, and others not."""
    placed = sorted(
        (fitted_time(event, fit.cameras[name]), name, index)
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
