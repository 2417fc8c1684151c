"""Draws frame-sets.svg: what a synchronized read of three cameras picks, by really reading them.

Run from the project's folder: .venv/bin/python docs/multiview/make_frame_sets_picture.py
"""

from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt

from multiview import SyntheticVideoSource, VideoIngestor, VideoSourceConfig

CAMERAS = {"cam1": (30, 0.0), "cam2": (25, 0.012), "cam3": (60, 0.1)}  # Hz, offset in s
TOLERANCE_S = 0.012
SHOWN_S = 0.3
COLOURS = ("#2a6fbb", "#c65d21", "#3c8d40")


def main() -> None:
    """Read, and draw."""
    configs = []
    for name, (rate, offset) in CAMERAS.items():
        source = SyntheticVideoSource(name, 1, rate, size=(64, 36))
        configs.append(VideoSourceConfig("", name, source=source, offset_seconds=offset))
    mpl.rcParams.update({"svg.fonttype": "none", "font.size": 9, "svg.hashsalt": "frame-sets"})
    figure, axes = plt.subplots(figsize=(8, 2.4), layout="constrained")
    with VideoIngestor(configs, sync_tolerance=TOLERANCE_S, min_cameras=1) as ingestor:
        _draw_frames(axes, ingestor)
        _draw_sets(axes, ingestor)
    axes.set_yticks([0, -1, -2], [f"{n}, {r} Hz, +{1e3 * o:g} ms" for n, (r, o) in CAMERAS.items()])
    axes.set_xlabel("common timeline (ms)")
    axes.set_xlim(-15, SHOWN_S * 1e3 + 5)
    axes.set_ylim(-2.5, 0.6)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(left=False)
    figure.savefig(Path(__file__).with_name("frame-sets.svg"), metadata={"Date": None})


def _draw_frames(axes: plt.Axes, ingestor: VideoIngestor) -> None:
    for row, source in enumerate(ingestor.sources.values()):
        times = [frame.time_ns / 1e6 for frame in source.frames(0, round(SHOWN_S * 1e9))]
        axes.plot(times, [-row] * len(times), "o", mfc="none", mec="#999999", ms=5)


def _draw_sets(axes: plt.Axes, ingestor: VideoIngestor) -> None:
    for found in ingestor.frame_sets(0, SHOWN_S):
        instant = found.time_ns / 1e6
        width = 2e3 * TOLERANCE_S
        axes.axvspan(instant - width / 2, instant + width / 2, color="#eef2f7", zorder=0)
        axes.axvline(instant, color="#b8c4d4", lw=0.8, zorder=1)
        for row, frame in enumerate(found.frames.values()):
            if frame.is_valid:
                axes.plot(frame.time_ns / 1e6, -row, "o", color=COLOURS[row], ms=6)
            else:
                axes.plot(instant, -row, "x", color="#c03030", ms=6)


if __name__ == "__main__":
    main()
