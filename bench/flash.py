"""Flash synchronisation: accuracy on footage of known truth, and speed of detection.

Every scenario is rendered as three real 960×540 H.264 videos of a minute, which are then decoded
like any others; nothing of the truth reaches the synchroniser. A second table repeats the
scenarios on row features (no coding) over many seeds, to see how often the stated bound holds.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import av
import numpy as np
from rich.console import Console, Group
from rich.table import Table

from bench.__main__ import RESULTS, machine
from capture_protocol import publish_text
from multiview.flash import (
    SCENARIOS,
    FlashFootage,
    FlashSyncError,
    FlashVideoSynchronization,
    scenario,
)

PLAIN_AIM_MS, OTHER_AIM_MS, DETECTION_AIM_S = 0.3, 1.0, 8.0
CHECKED_TIMES = 61
RENDERERS = 2


def run(
    names: tuple[str, ...] = tuple(SCENARIOS), seeds: int = 10, render: bool = True
) -> dict[str, Any]:
    """Render, detect, synchronise and compare with the truth."""
    with tempfile.TemporaryDirectory(prefix="tutti-flash-") as folder:
        videos = [_measure_videos(name, Path(folder)) for name in names if render]
    return {
        "videos": videos,
        "seeds": [_measure_seeds(name, seeds) for name in names],
        "aims": {"plain_ms": PLAIN_AIM_MS, "other_ms": OTHER_AIM_MS, "detect_s": DETECTION_AIM_S},
    }


def _measure_videos(name: str, folder: Path) -> dict[str, Any]:
    """One scenario, from coded files to the error."""
    footage = scenario(name)
    paths = {camera.name: folder / f"{name}-{camera.name}.mp4" for camera in footage.cameras}
    with ProcessPoolExecutor(RENDERERS) as pool:
        list(pool.map(_render, [name] * len(paths), paths, paths.values()))
    sync = FlashVideoSynchronization(use_cache=False)
    begin, begin_cpu = time.perf_counter(), time.process_time()
    sync.detect_flash_events(paths)
    taken = {
        "detect_s": time.perf_counter() - begin,
        "detect_cpu_s": time.process_time() - begin_cpu,
        "bare_decode_cpu_s": _bare_decode_cpu_s(paths.values()),
        "megabytes": sum(path.stat().st_size for path in paths.values()) / 1e6,
    }
    for path in paths.values():
        path.unlink()
    return {"scenario": name, "solvable": footage.solvable} | taken | _outcome(footage, sync)


def _bare_decode_cpu_s(paths: Iterable[Path]) -> float:
    """What FFmpeg takes to decode the same files and do nothing: the yardstick of the machine."""
    begin = time.process_time()
    for path in paths:
        with av.open(str(path)) as container:
            container.streams.video[0].thread_type = "AUTO"
            for _ in container.decode(video=0):
                pass
    return time.process_time() - begin


def _render(name: str, camera: str, path: Path) -> None:
    scenario(name).write_video(camera, path)


def _measure_seeds(name: str, seeds: int) -> dict[str, Any]:
    outcomes = []
    for seed in range(seeds):
        footage = scenario(name, seed)
        sync = FlashVideoSynchronization(use_cache=False)
        for camera in footage.cameras:
            sync.add_features(camera.name, footage.features(camera.name))
        outcomes.append(_outcome(footage, sync))
    solved = [found for found in outcomes if "refused" not in found]
    return {
        "scenario": name,
        "solvable": scenario(name).solvable,
        "seeds": seeds,
        "refused": seeds - len(solved),
        "errors_ms": sorted(found["error_ms"] for found in solved),
        "inside_bound": sum(found["of_bound"] <= 1 for found in solved),
    }


def _outcome(footage: FlashFootage, sync: FlashVideoSynchronization) -> dict[str, Any]:
    """Largest error over cameras, rows and the whole clip, beside what was promised."""
    begin = time.perf_counter()
    try:
        sync.synchronize()
    except FlashSyncError as error:
        return {"refused": str(error)}
    taken_s = time.perf_counter() - begin
    errors, bounds = [], []
    for camera in footage.cameras:
        times = np.linspace(0, footage.duration_ns, CHECKED_TIMES).astype(np.int64)
        line = sync.timelines[camera.name]
        for row in (0, camera.height // 2, camera.height - 1):
            truth = footage.true_ns(camera.name, times, row, footage.cameras[0].name)
            errors.append(np.abs(line.at_many(times, row) - truth))
            bounds.append([max(line.bound_ns(int(own), row), 1.0) for own in times])
    return {
        "synchronize_s": taken_s,
        "error_ms": float(np.max(errors)) / 1e6,
        "bound_ms": float(np.max(bounds)) / 1e6,
        # a nanosecond of rounding is no error against the base row's bound of zero
        "of_bound": float(np.max((np.array(errors) - 1) / np.array(bounds))),
    }


def table(results: dict[str, Any]) -> Group:
    """Return the measurements beside what was aimed at."""
    return Group(_video_table(results["videos"]), _seed_table(results["seeds"]))


def _video_table(rows: list[dict[str, Any]]) -> Table:
    heads = (
        "footage",
        "MB",
        "detect s (cpu)",
        "bare decode cpu s",
        "max error ms",
        "aim",
        "99 % bound ms",
        "inside",
    )
    shown = Table(*heads, title="three 960×540 videos of 60 s, 12 flashes, no offsets given")
    for row in rows:
        head = (row["scenario"], f"{row['megabytes']:.0f}")
        speed = f"{row['detect_s']:.1f} ({row['detect_cpu_s']:.1f})"
        shown.add_row(*head, speed, f"{row['bare_decode_cpu_s']:.1f}", *_verdict_cells(row))
    return shown


def _verdict_cells(row: dict[str, Any]) -> tuple[str, ...]:
    aim = PLAIN_AIM_MS if row["scenario"] == "plain" else OTHER_AIM_MS
    wanted = f"≤ {aim}" if row["solvable"] else "refusal"
    if "refused" in row:
        return (f"refused: {row['refused']}", wanted, "", "")
    inside = "yes" if row["of_bound"] <= 1 else "NO"
    return (f"{row['error_ms']:.3f}", wanted, f"{row['bound_ms']:.3f}", inside)


def _seed_table(rows: list[dict[str, Any]]) -> Table:
    heads = ("footage", "drawn", "refused", "median error ms", "worst", "inside bound")
    shown = Table(*heads, title="the same on row features, other seeds")
    for row in rows:
        errors = row["errors_ms"]
        cells = (f"{np.median(errors):.3f}", f"{errors[-1]:.3f}") if errors else ("", "")
        inside = f"{row['inside_bound']} of {len(errors)}" if errors else ""
        shown.add_row(row["scenario"], str(row["seeds"]), str(row["refused"]), *cells, inside)
    return shown


def main() -> None:
    """Run by itself: `make bench-flash`."""
    parser = argparse.ArgumentParser(prog="python -m bench.flash", description=__doc__)
    parser.add_argument("--only", nargs="*", default=list(SCENARIOS), choices=list(SCENARIOS))
    parser.add_argument("--seeds", type=int, default=10, help="of the feature table")
    parser.add_argument("--no-videos", action="store_true", help="only the feature table (2 min)")
    chosen = parser.parse_args()
    measured = run(tuple(chosen.only), chosen.seeds, render=not chosen.no_videos)
    results = {"machine": machine(), "flash": measured}
    Console(width=140).print(table(results["flash"]))
    RESULTS.mkdir(exist_ok=True)
    publish_text(RESULTS / "flash.json", json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
