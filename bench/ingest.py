"""`make bench-ingest`: reading video files, against the readers people use.

Sequential decoding to RGB, random access, opening and memory on one 60 s 1280×720 clip (H.264,
B-frames, a key frame every 30) for every reader; then four sources read in step against four
readers running each for itself. Rounds are interleaved and the best of each counts: the machine may
be busy with other things, but no reader can be faster than it is.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench.__main__ import RESULTS, machine
from bench.ingest_readers import BITS, CELL, MEASUREMENTS, READERS
from capture_protocol import publish_text

WIDTH, HEIGHT, RATE, SECONDS = 1280, 720, 30, 60
SOURCES = 4
SCRIPT = Path(__file__).parent / "ingest_readers.py"
PEERS = Path(sys.prefix) / "peers"
OURS = ("multiview", "opencv", "pyav")
BEST_IS_HIGH = ("fps", "random_right", "near_right", "frames")


def main() -> None:
    """Measure, print the tables, write bench/results/ingest.json."""
    parser = argparse.ArgumentParser(prog="python -m bench.ingest", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    console = Console(width=140)
    with tempfile.TemporaryDirectory() as folder:
        clip = make_clip(Path(folder) / "clip.mp4", console)
        readers = compare(clip, rounds, console)
        together = in_step(clip, rounds)
    console.print(reader_table(readers))
    console.print(together_line(together))
    console.print(f"load while measuring: {os.getloadavg()[1]:.1f} on {os.cpu_count()} cores")
    results = {
        "machine": machine(),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "load": os.getloadavg(),
        "readers": readers,
        "in_step": together,
    }
    RESULTS.mkdir(exist_ok=True)
    publish_text(RESULTS / "ingest.json", json.dumps(results, indent=1) + "\n")
    console.print(f"written: {RESULTS / 'ingest.json'}")


def make_clip(path: Path, console: Console) -> Path:
    """A textured scene that drifts, with each frame's number in black and white cells."""
    rng = np.random.default_rng(1)
    coarse = rng.normal(size=(150, 220)).cumsum(0).cumsum(1)
    scaled = ((coarse - coarse.min()) / np.ptp(coarse) * 240).astype(np.uint8)
    scene = cv2.resize(scaled, (WIDTH + 512, HEIGHT + 512), interpolation=cv2.INTER_CUBIC)
    scene = cv2.add(scene, rng.integers(0, 12, scene.shape).astype(np.uint8))
    planes = np.full((HEIGHT * 3 // 2, WIDTH), 128, np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.options = {"preset": "veryfast", "crf": "23"}
        stream.codec_context.gop_size, stream.codec_context.max_b_frames = 30, 2
        for n in track(range(RATE * SECONDS), "making the clip", console=console):
            top, left = round(200 * (1 + np.sin(n / 40))), round(200 * (1 + np.cos(n / 55)))
            planes[:HEIGHT] = scene[top : top + HEIGHT, left : left + WIDTH]
            bits = ((n >> np.arange(BITS)) & 1) * 200 + 20
            planes[:CELL, : CELL * BITS] = bits.astype(np.uint8).repeat(CELL)
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts, frame.time_base = n, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def compare(clip: Path, rounds: int, console: Console) -> dict[str, dict[str, Any]]:
    """Best value of every measurement for every reader; a reader that is missing says why."""
    results: dict[str, dict[str, Any]] = {name: {} for name in READERS}
    jobs = [(m, name) for _ in range(rounds) for m in MEASUREMENTS for name in READERS]
    for measurement, name in track(jobs, "measuring", console=console):
        if "missing" not in results[name]:
            _merge(results[name], measure(name, measurement, clip))
    return results


def measure(name: str, measurement: str, clip: Path) -> dict[str, Any]:
    """One measurement in a process of its own."""
    python = Path(sys.executable) if name in OURS else PEERS / "bin" / "python"
    if not python.exists():
        return {"missing": "not installed: run make bench-ingest"}
    done = subprocess.run(
        [python, SCRIPT, name, measurement, clip],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | ({} if name in OURS else {"LD_LIBRARY_PATH": ffmpeg_libraries()}),
    )
    if done.returncode:
        return {"missing": (done.stderr.strip().splitlines() or ["no reason given"])[-1]}
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def ffmpeg_libraries() -> str:
    """Where torchcodec finds PyAV's FFmpeg: both decode alike, and the system needs none."""
    bundled = Path(av.__file__).parent.parent / "av.libs"
    folder = PEERS / "ffmpeg"
    folder.mkdir(exist_ok=True)
    for library in [*bundled.glob("libav*"), *bundled.glob("libsw*")]:
        name = library.name.split("-")[0] + ".so." + library.name.split(".so.")[1].split(".")[0]
        if not (folder / name).exists():
            (folder / name).symlink_to(library)
    return f"{folder}:{bundled}"


def in_step(clip: Path, rounds: int) -> dict[str, float]:
    """Frames per second of four sources read in step, and of four readers each for itself."""
    together = apart = alone = 0.0
    for _ in range(rounds):
        together = max(together, _run_python(_IN_STEP, clip))
        apart = max(apart, _four_apart(clip))
        alone = max(alone, measure("multiview", "sequence", clip)["fps"])
    return {
        "in_step_fps": together,
        "apart_fps": apart,
        "alone_fps": alone,
        "share_of_cores": together / apart,
    }


_IN_STEP = f"""
import sys, time
from multiview import VideoIngestor, VideoSourceConfig
configs = [VideoSourceConfig(sys.argv[1], f"cam{{k}}") for k in range({SOURCES})]
with VideoIngestor(configs) as ingestor:
    begin, count = time.perf_counter(), 0
    for found in ingestor.frame_sets():
        for frame in found.frames.values():
            count += frame.image is not None
    print(count / (time.perf_counter() - begin))
"""


def _run_python(code: str, clip: Path) -> float:
    command = [sys.executable, "-c", code, str(clip)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def _four_apart(clip: Path) -> float:
    """Four processes at once; their frames by the time of the whole, start-up left out."""
    command = [sys.executable, str(SCRIPT), "multiview", "sequence", str(clip)]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(SOURCES)]
    return float(sum(json.loads(run.communicate()[0])["fps"] for run in runs))


def _merge(best: dict[str, Any], found: dict[str, Any]) -> None:
    for key, value in found.items():
        if key == "missing" or key not in best:
            best[key] = value
        else:
            best[key] = (max if key in BEST_IS_HIGH else min)(best[key], value)


def reader_table(readers: dict[str, dict[str, Any]]) -> Table:
    """One line per reader."""
    table = Table(title="reading a 60 s 1280×720 H.264 clip with B-frames, key frame every 30")
    columns = {
        "fps": "in order, fps",
        "cpu_ms_per_frame": "CPU ms/frame",
        "random_p50_ms": "random p50 ms",
        "random_right": "right",
        "near_p50_ms": "near p50 ms",
        "near_right": "right",
        "open_ms": "open ms",
        "memory_mib": "memory MiB",
    }
    for title in ("reader", *columns.values()):
        table.add_column(title, justify="left" if title == "reader" else "right")
    for name, found in readers.items():
        if "missing" in found:
            table.add_row(name, f"not measured: {found['missing']}")
        else:
            table.add_row(name, *(_cell(key, found[key]) for key in columns))
    return table


def _cell(key: str, value: float) -> str:
    return f"{value:.0%}" if key.endswith("right") else f"{value:.{0 if value > 100 else 1}f}"


def together_line(found: dict[str, float]) -> str:
    """The four sources in words."""
    return (
        f"{SOURCES} sources in step: {found['in_step_fps']:.0f} frames/s; each for itself in "
        f"{SOURCES} processes: {found['apart_fps']:.0f} frames/s ({found['share_of_cores']:.0%}); "
        f"one source alone: {found['alone_fps']:.0f} frames/s"
    )


if __name__ == "__main__":
    main()
