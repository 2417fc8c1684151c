"""The report's figures: one function each, from findings to a picture with its caption."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from capture_protocol.grid import NS_PER_S
from control_server.audit.account import SlotState
from control_server.audit.camera import CameraFindings, FrameTimes
from control_server.audit.envelope import Envelope, bin_edges, bins_of, envelope
from control_server.audit.findings import NS_PER_US, plural
from control_server.audit.run import Audit
from control_server.audit.svg import BOTTOM, LEFT, TOP, Axis, Plot, legend

PLOT_HEIGHT = 230
ROW_HEIGHT, GAP_ROW = 44, 22
COLOURS = 7
"""The style sheet has so many colours for cameras; they repeat after that."""
HISTOGRAM_BINS = 24, 120
"""Fewest and most; twice the root of the number of frames between them, so that short sessions do
not crumble."""
_FLOOR_US = 0.1
"""Lower end of logarithmic axes: clocks are not read more finely."""

_SHOWN_SHARE = 0.99
"""Linear plots fit this share of the values; what is further out is drawn at the edge, because one
late frame must not flatten all the others."""

_STATE_STYLES = {
    SlotState.DELIVERED: "delivered",
    SlotState.AGENT: "agent",
    SlotState.SENSOR: "sensor",
    SlotState.ENCODER: "encoder",
    SlotState.NETWORK: "network",
    SlotState.FILE: "file",
    SlotState.UNKNOWN: "unknown",
}
_LATE = 7  # after the slot states: delivered, but late or repeated
_STYLES = {**{int(state): style for state, style in _STATE_STYLES.items()}, _LATE: "late"}
_SEVERITY = (SlotState.DELIVERED, _LATE, *(state for state in SlotState if state != 6))


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture, what it shows, and its legend."""

    title: str
    caption: str
    picture: Markup
    legend: Markup = Markup("")  # noqa: RUF009  # Markup is an immutable string


def make_figures(audit: Audit) -> list[Figure]:
    """All figures the session has data for, most important first."""
    if not audit.session.slots:
        return []
    figures = [gap_map(audit), skew_over_time(audit), grid_histograms(audit)]
    figures += [grid_over_time(audit), release_over_time(audit), clock_over_time(audit)]
    return [figure for figure in figures if figure is not None]


def gap_map(audit: Audit) -> Figure:
    """Cameras × slots, coloured by the worst that happened."""
    cameras = audit.cameras
    height = TOP + GAP_ROW * len(cameras) + BOTTOM
    plot = Plot(_time_axis(audit), None, height, "What became of every slot")
    used = set()
    for row, camera in enumerate(cameras):
        top = TOP + row * GAP_ROW
        plot.text(LEFT - 8, top + GAP_ROW / 2 + 4, camera.plan.name, "end")
        used |= _draw_states(plot, audit, camera, top)
    names = {**{int(state): state.name.lower() for state in SlotState}, _LATE: "late or repeated"}
    entries = [
        (_STYLES[state], names[state] if state in (6, _LATE) else f"lost: {names[state]}")
        for state in _SEVERITY
        if state in used
    ]
    return Figure(
        "Every slot",
        "One row per camera; a column shows the worst that happened to its slots.",
        plot.svg(),
        legend(entries),
    )


def _draw_states(plot: Plot, audit: Audit, camera: CameraFindings, top: float) -> set[int]:
    slots = audit.session.slots
    states = camera.states.astype(np.int64)
    unusual = camera.times.slots[camera.times.late | camera.times.repeated]
    states[unusual[unusual < slots]] = _LATE
    severity = np.zeros(8, np.int64)
    severity[list(map(int, _SEVERITY))] = np.arange(8)
    edges = bin_edges(slots, bins_of(slots))
    worst = np.asarray(_SEVERITY)[np.maximum.reduceat(severity[states], edges[:-1])]
    changes = np.flatnonzero(np.diff(worst, prepend=-1, append=-1))
    times = _edge_times(audit)
    for first, end in pairwise(changes):
        state = int(worst[first])
        count = int(np.count_nonzero(states[edges[first] : edges[end]] == state))
        tip = f"{camera.plan.name}, slots {edges[first]}–{edges[end] - 1}: {count} {_STYLES[state]}"
        box = (times[first], times[end], top + 2, GAP_ROW - 4)
        plot.cell(*box, f"state {_STYLES[state]}", tip)
    return set(worst.tolist())


def skew_over_time(audit: Audit) -> Figure | None:
    """Median and largest skew."""
    if not len(audit.skew.slots):
        return None
    values_us = audit.skew.skew_ns / NS_PER_US
    found = envelope(audit.skew.slots, values_us, audit.session.slots, _bins(audit))
    limit_us = audit.session.plan.audit.skew_p99_us
    plot = _spread_plot(audit, found, "Skew over time", limit_us)
    return Figure(
        "Skew",
        "How far apart the cameras exposed each slot: median (line) up to the largest (area).",
        plot.svg(),
    )


def release_over_time(audit: Audit) -> Figure | None:
    """Median and largest release error of all cameras."""
    times = [camera.times for camera in audit.cameras]
    slots = np.concatenate([one.slots[one.released] for one in times])
    errors = np.abs(np.concatenate([one.release_error_ns[one.released] for one in times]))
    inside = slots < audit.session.slots
    if not inside.any():
        return None
    found = envelope(slots[inside], errors[inside] / NS_PER_US, audit.session.slots, _bins(audit))
    limit_us = audit.session.plan.audit.release_error_p99_us
    plot = _spread_plot(audit, found, "Release error over time", limit_us)
    return Figure(
        "Release error",
        "How far from Tn the requests were queued, all cameras: median (line) up to the largest "
        "(area).",
        plot.svg(),
    )


def _spread_plot(audit: Audit, found: Envelope, title: str, limit_us: float) -> Plot:
    """Median line and area up to the maximum on a logarithmic axis that shows the limit."""
    highest = max(float(np.nanmax(found.highest)), limit_us) * 1.5
    floor = max(_FLOOR_US, float(np.nanmin(found.median)) / 3)
    plot = Plot(_time_axis(audit), Axis(floor, highest, "µs", log=True), PLOT_HEIGHT, title)
    seconds = _bin_middles(audit)
    plot.band(seconds, found.median, found.highest, "accent")
    plot.line(seconds, found.median, "accent")
    plot.rule(limit_us, "limit of p99")
    return plot


def grid_histograms(audit: Audit) -> Figure | None:
    """Distribution of the grid error, one row per camera on one scale."""
    shown = [camera for camera in audit.cameras if camera.result.grid_error is not None]
    if not shown:
        return None
    reach_us = _reach_us([camera.times for camera in shown])
    height = TOP + ROW_HEIGHT * len(shown) + BOTTOM
    plot = Plot(Axis(-reach_us, reach_us, "µs"), None, height, "Grid error per camera")
    outside = 0
    for row, camera in enumerate(shown):
        bottom = TOP + (row + 1) * ROW_HEIGHT - 4
        plot.text(LEFT - 8, bottom - 8, camera.plan.name, "end")
        outside += _draw_histogram(plot, camera, row, reach_us, bottom)
    beyond = f" Not in the picture: {plural(outside, 'frame')}." if outside else ""
    return Figure(
        "Grid error",
        f"Exposure midpoint minus Tn: how many frames were how early or late.{beyond}",
        plot.svg(),
    )


def _draw_histogram(
    plot: Plot, camera: CameraFindings, row: int, reach_us: float, bottom: float
) -> int:
    errors_us = camera.times.grid_error_ns / NS_PER_US
    columns = int(np.clip(2 * np.sqrt(len(errors_us)), *HISTOGRAM_BINS))
    counts, edges = np.histogram(errors_us, columns, (-reach_us, reach_us))
    tallest = max(int(counts.max()), 1)
    for at in np.flatnonzero(counts):
        tall = (ROW_HEIGHT - 8) * counts[at] / tallest
        tip = (
            f"{camera.plan.name}: {counts[at]} frames at {edges[at]:.1f} to {edges[at + 1]:.1f} µs"
        )
        style = f"bar c{row % COLOURS}"
        plot.cell(edges[at], edges[at + 1], bottom - tall, tall, style, tip)
    return len(errors_us) - int(counts.sum())


def grid_over_time(audit: Audit) -> Figure | None:
    """Median grid error per camera: drift and the pull into lock show here."""
    series = {
        camera.plan.name: _inside(audit, camera.times.slots, camera.times.grid_error_ns)
        for camera in audit.cameras
    }
    return _lines(
        audit,
        series,
        "Grid error over time",
        "Median exposure midpoint minus Tn, one line per camera: flat means locked to the grid.",
    )


def clock_over_time(audit: Audit) -> Figure | None:
    """Estimated clock error per camera, and the largest claimed bound around it."""
    series = {
        camera.plan.name: _inside(audit, camera.times.slots, camera.times.clock_offset_ns)
        for camera in audit.cameras
    }
    slots = np.concatenate([camera.times.slots for camera in audit.cameras])
    bounds = np.concatenate([camera.times.clock_uncertainty_ns for camera in audit.cameras])
    inside = slots < audit.session.slots
    bound = envelope(slots[inside], bounds[inside] / NS_PER_US, audit.session.slots, _bins(audit))
    return _lines(
        audit,
        series,
        "Clock over time",
        "Estimated error of each camera's clock (lines) within the largest claimed bound (area).",
        bound=bound.highest,
    )


def _lines(
    audit: Audit,
    series: dict[str, npt.NDArray[np.float64]],
    title: str,
    caption: str,
    bound: npt.NDArray[np.float64] | None = None,
) -> Figure | None:
    drawn = np.abs(np.concatenate([*series.values(), [] if bound is None else bound]))
    drawn = drawn[~np.isnan(drawn)]
    if not len(drawn):
        return None
    reach = max(1.3 * float(np.quantile(drawn, _SHOWN_SHARE)), _FLOOR_US)
    axis = Axis(-reach, reach, "µs")
    plot = Plot(_time_axis(audit), axis, PLOT_HEIGHT, title)
    seconds = _bin_middles(audit)
    if bound is not None:
        plot.band(seconds, -bound, bound, "bound")
    for number, values in enumerate(series.values()):
        plot.line(seconds, values, f"c{number % COLOURS}")
    names = [(f"c{number % COLOURS}", name) for number, name in enumerate(series)]
    return Figure(title, caption, plot.svg(), legend(names))


def _inside(
    audit: Audit, slots: npt.NDArray[np.uint64], values_ns: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Median per bin, µs."""
    inside = slots < audit.session.slots
    values_us = values_ns[inside] / NS_PER_US
    return envelope(slots[inside], values_us, audit.session.slots, _bins(audit)).median


def _reach_us(times: list[FrameTimes]) -> float:
    """Half the width of a picture that shows 99.5 % of every camera's errors."""
    sizes = [np.quantile(np.abs(one.grid_error_ns), 0.995) for one in times]
    return max(1.2 * float(max(sizes)) / NS_PER_US, 1.0)


def _bins(audit: Audit) -> int:
    return bins_of(audit.session.slots)


def _bin_middles(audit: Audit) -> npt.NDArray[np.float64]:
    """Middle of each bin on the time axis."""
    edges = _edge_times(audit)
    return np.asarray((edges[:-1] + edges[1:]) / 2)


def _edge_times(audit: Audit) -> npt.NDArray[np.float64]:
    """Edges of the bins on the time axis."""
    edges = bin_edges(audit.session.slots, _bins(audit))
    return np.asarray(edges * audit.session.grid.period_ns / _time_unit(audit)[0])


def _time_axis(audit: Audit) -> Axis:
    return Axis(0.0, float(_edge_times(audit)[-1]), _time_unit(audit)[1])


def _time_unit(audit: Audit) -> tuple[int, str]:
    """The unit, in ns, that gives a session's length in a handy number."""
    length_s = audit.session.slots * audit.session.grid.period_ns / NS_PER_S
    units = ((1, "s"), (60, "min"), (3600, "h"))
    seconds, name = next((unit for unit in units if length_s <= 300 * unit[0]), units[-1])
    return seconds * NS_PER_S, name
