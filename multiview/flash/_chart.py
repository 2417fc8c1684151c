"""The flash chart: when each camera saw a flash."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure

from multiview.flash._track import FlashTrack
from multiview.timeline import TimelineSet

NS_PER_S = 1e9
NS_PER_MS = 1e6
EDGELESS_ALPHA = 0.35


def draw_events(
    tracks: Mapping[str, FlashTrack], lines: TimelineSet | None, offsets_ms: Mapping[str, float]
) -> Figure:
    """Draw one line of flashes per camera; tall if strong, pale if no row edge was found."""
    figure = Figure(figsize=(10, 0.9 + 0.9 * len(tracks)), layout="constrained")
    axes = figure.add_subplot()
    for level, (name, track) in enumerate(tracks.items()):
        strongest = max((event.level for event in track.events), default=1.0)
        times = event_times_s(name, track, lines, offsets_ms.get(name, 0.0))
        for event, time_s in zip(track.events, times, strict=True):
            top = level + 0.2 + 0.6 * event.level / strongest
            alpha = 1.0 if event.edges else EDGELESS_ALPHA
            axes.vlines(time_s, level, top, color=f"C{level}", lw=2, alpha=alpha)
    axes.set_yticks(range(len(tracks)), [f"{n} ({len(t.events)})" for n, t in tracks.items()])
    axes.set_ylim(-0.1, len(tracks))
    aligned = lines is not None or offsets_ms
    axes.set_xlabel("time on the common timeline (s)" if aligned else "time of each video (s)")
    axes.set_title("detected flashes; pale ones show no edge between lit and dark rows")
    return figure


def event_times_s(
    name: str, track: FlashTrack, lines: TimelineSet | None, offset_ms: float
) -> list[float]:
    """Return when a camera saw its flashes (s): on the timeline if there is one."""
    if lines is None or name not in lines:
        return [(event.time_ns - offset_ms * NS_PER_MS) / NS_PER_S for event in track.events]
    first_read = track.height - 1 if track.upside_down else 0
    return [lines[name].at(round(e.time_ns), first_read) / NS_PER_S for e in track.events]
