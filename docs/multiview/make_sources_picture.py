"""Draws frame-times.svg: where the frames of odd files lie, by really making and reading them.

Run from the project's folder: .venv/bin/python docs/multiview/make_sources_picture.py
"""

import subprocess
import tempfile
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

from multiview import FileVideoSource

TICKS_PER_S = 90_000
PERIOD = TICKS_PER_S // 30
FRAMES = 45
TRIM_S = 0.5
READ, GUESSED = "#2a6fbb", "#c65d21"


def main() -> None:
    """Make the files, read them, and draw."""
    with tempfile.TemporaryDirectory() as folder:
        files = make_files(Path(folder))
        mpl.rcParams.update({"svg.fonttype": "none", "font.size": 9, "svg.hashsalt": "frame-times"})
        figure, axes = plt.subplots(figsize=(8, 2.8), layout="constrained")
        for row, path in enumerate(files.values()):
            draw_times(axes, -row, path)
    axes.set_yticks([-row for row in range(len(files))], list(files))
    axes.set_xlabel("time (ms)")
    axes.set_ylim(0.6 - len(files), 1.1)
    axes.legend(loc="upper right", ncols=2, frameon=False)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(left=False)
    figure.savefig(Path(__file__).with_name("frame-times.svg"), metadata={"Date": None})


def make_files(folder: Path) -> dict[str, Path]:
    """Files by what is odd about them."""
    even = [PERIOD * n for n in range(FRAMES)]
    missing = [tick for n, tick in enumerate(even) if n % 5 and n not in range(11, 16)]
    slower = [t if t < 20 * PERIOD else 2 * t - 20 * PERIOD for t in even if t < 32 * PERIOD]
    files = {
        "frames missing": encode(folder / "missing.mp4", missing),
        "rate halves": encode(folder / "slower.mp4", slower),
    }
    whole = encode(folder / "whole.mp4", even)
    files["trimmed, edit list"] = folder / "trimmed.mp4"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-ss", str(TRIM_S)]
    command += ["-i", str(whole), "-c", "copy", str(files["trimmed, edit list"])]
    subprocess.run(command, check=True)
    return files


def encode(path: Path, ticks: Sequence[int]) -> Path:
    """A grey H.264 clip with these frame times."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", options={"g": "30", "bf": "2"})
        stream.width, stream.height, stream.pix_fmt = 64, 36, "yuv420p"
        stream.codec_context.time_base = Fraction(1, TICKS_PER_S)
        for tick in ticks:
            frame = av.VideoFrame.from_ndarray(np.full((54, 64), 128, np.uint8), "yuv420p")
            frame.pts, frame.time_base = tick, Fraction(1, TICKS_PER_S)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def draw_times(axes: plt.Axes, level: float, path: Path) -> None:
    """One file: the times that its packets tell, and what index / fps makes of them."""
    with FileVideoSource(path, path.stem) as source:
        times_ms = source.times_ns / 1e6
    with av.open(str(path)) as container:
        guessed_ms = np.arange(len(times_ms)) * float(
            1000 / container.streams.video[0].average_rate
        )
    first = level == 0
    axes.vlines(times_ms, level, level + 0.35, color=READ, lw=1.5, label="read" if first else None)
    label = "index / fps" if first else None
    axes.vlines(guessed_ms, level - 0.3, level - 0.02, color=GUESSED, lw=1, label=label)


if __name__ == "__main__":
    main()
