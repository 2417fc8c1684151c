"""What the `multiview` command prints and exports."""

from __future__ import annotations

import csv
import io
from typing import Any, TypeAlias

from rich.console import Console
from rich.table import Table

from multiview.sources import NS_PER_S, VideoMetadata
from multiview.sync import FrameSet, SetStatistics

ExportRow: TypeAlias = tuple[object, ...]

EXPORT_COLUMNS = ("set", "set_time_ns", "camera", "frame", "time_ns", "uncertainty_ns", "reason")


def probe_table(found: list[VideoMetadata]) -> Table:
    """One line per source."""
    table = Table("camera", "size", "codec", "frames", "Hz", "from s", "length s", "clock")
    for m in found:
        table.add_row(
            m.camera_id,
            f"{m.width}×{m.height}",
            m.codec,
            str(m.total_frames),
            f"{m.fps:.3f}",
            f"{m.start_ns / NS_PER_S:.3f}",
            f"{m.duration or 0:.3f}",
            m.clock.value,
        )
    return table


def export_rows(number: int, found: FrameSet) -> list[ExportRow]:
    """A line for every camera's frame of a set."""
    return [
        (number, found.time_ns, camera, f.frame_number, f.time_ns, f.uncertainty_ns, f.reason)
        for camera, f in found.frames.items()
    ]


def as_csv(rows: list[ExportRow]) -> str:
    """The lines under their names, as CSV."""
    text = io.StringIO()
    csv.writer(text).writerows([EXPORT_COLUMNS, *rows])
    return text.getvalue()


def summarize(statistics: SetStatistics, cameras: list[str]) -> dict[str, Any]:
    """How many sets there were, how well they fit, and what was missing, for JSON."""
    return {
        "sets": statistics.sets,
        "complete": statistics.complete,
        "skew_ms": statistics.skew_ms(),
        "uncertainty_ms": statistics.uncertainty_ns / 1e6,
        "cameras": {
            camera: {
                "valid": statistics.valid[camera],
                "not_valid": dict(statistics.reasons.get(camera, {})),
            }
            for camera in cameras
        },
    }


def print_summary(summary: dict[str, Any]) -> None:
    """Print the summary as a table and a line or two."""
    table = Table("camera", "usable frames", "not usable, because")
    for camera, counts in summary["cameras"].items():
        reasons = "\n".join(f"{n} × {reason}" for reason, n in counts["not_valid"].items())
        table.add_row(camera, str(counts["valid"]), reasons)
    console = Console()
    console.print(table)
    console.print(f"{summary['sets']} sets, {summary['complete']} with all cameras")
    if summary["skew_ms"]:
        skew = ", ".join(f"{name} {value:.3f}" for name, value in summary["skew_ms"].items())
        console.print(
            f"skew in ms: {skew}; times uncertain by {summary['uncertainty_ms']:.3f} ms (σ)"
        )
