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
    console.print(together_lines(together))
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


def in_step(clip: Path, rounds: int) -> dict[str, Any]:
    """Four sources read in step, and four processes that read one each, with one decoding thread.

    Both do the same decoding on the same cores: the second is what the cores allow. On a machine
    that others use as well, each gets the cores that are left to it, so these are told too, and
    the CPU time of a frame, which does not depend on them.
    """
    together: dict[str, float] = {}
    apart: dict[str, float] = {}
    for _ in range(rounds):
        together = max(together, _finish([_start(_IN_STEP, clip)]), key=_fps)
        apart = max(apart, _finish([_start(_APART, clip) for _ in range(SOURCES)]), key=_fps)
    return {
        "in_step": together,
        "apart": apart,
        "share_of_frames": together["fps"] / apart["fps"],
        "share_by_cpu_time": apart["cpu_ms_per_frame"] / together["cpu_ms_per_frame"],
    }


_TIMED = """
begin, cpu, count = time.perf_counter(), time.process_time(), 0
for image in images():
    count += image is not None
wall, cpu = time.perf_counter() - begin, time.process_time() - cpu
print(count, wall, cpu)
"""
_IN_STEP = f"""
import sys, time
from multiview import VideoIngestor, VideoSourceConfig
configs = [VideoSourceConfig(sys.argv[1], f"cam{{k}}") for k in range({SOURCES})]
cameras = VideoIngestor(configs)
cameras.load_sources()
def images():
    return (frame.image for found in cameras.frame_sets() for frame in found.frames.values())
{_TIMED}
"""
_APART = f"""
import sys, time
from multiview import FileVideoSource
source = FileVideoSource(sys.argv[1], "cam", decoder_threads=1)
source.open()
def images():
    return (frame.image for frame in source.frames())
{_TIMED}
"""


def _start(code: str, clip: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, str(clip)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _finish(runs: list[subprocess.Popen[str]]) -> dict[str, float]:
    """Frames per second of all runs together, CPU time of a frame, and cores that they had."""
    parts = [tuple(map(float, run.communicate()[0].split())) for run in runs]
    counts, walls, cpus = zip(*parts, strict=True)
    return {
        "fps": sum(count / wall for count, wall in zip(counts, walls, strict=True)),
        "cpu_ms_per_frame": sum(cpus) / sum(counts) * 1e3,
        "cores": sum(cpu / wall for cpu, wall in zip(cpus, walls, strict=True)),
    }


def _fps(found: dict[str, float]) -> float:
    return found.get("fps", 0.0)


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


def together_lines(found: dict[str, Any]) -> str:
    """The four sources in words."""
    told = [
        f"{SOURCES} sources {name}: {run['fps']:.0f} frames/s with {run['cores']:.2f} cores, "
        f"{run['cpu_ms_per_frame']:.2f} CPU ms/frame"
        for name, run in (("in step", found["in_step"]), ("each for itself", found["apart"]))
    ]
    shares = (
        f"in step / each for itself: {found['share_of_frames']:.0%} of the frames per second, "
        f"{found['share_by_cpu_time']:.0%} by CPU time"
    )
    return "\n".join([*told, shares])


if __name__ == "__main__":
    main()
