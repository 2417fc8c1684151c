"""Draws the pictures of the flash and audio pages: `python docs/multiview/flash_pictures.py`."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from multiview.audio import RATE_HZ, HeardEvent, Microphone
from multiview.audio._alignment import REACH_S, _compare, _fit_line, _rough_line
from multiview.flash import FlashVideoSynchronization, scenario
from multiview.flash._detection import chain, find_pieces
from multiview.flash._edges import find_edges

HERE = Path(__file__).parent
DPI = 100


def main() -> None:
    """Write all pictures beside this file."""
    footage = scenario("local-flashes")
    features = {camera.name: footage.features(camera.name) for camera in footage.cameras}
    edges_picture(features["cam1"]).savefig(HERE / "flash-edges.png", dpi=DPI)
    chart_picture(features).savefig(HERE / "flash-chart.png", dpi=DPI)
    audio_picture().savefig(HERE / "audio-windows.png", dpi=DPI)


def edges_picture(features) -> Figure:
    """One flash over two frames: gain per row, and where its edges were found."""
    sightings = chain(find_pieces(features))
    found = find_edges(sightings)
    spanning = [n for n, s in enumerate(sightings) if len(s.pieces) == 2]
    number = min(spanning, key=lambda n: max(edge.sigma for edge in found[n]))
    edges = found[number]
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, piece in zip(panels, sightings[number].pieces, strict=True):
        axes.plot(piece.gain, color="C1", lw=1)
        for edge in (edge for edge in edges if edge.frame == piece.frame):
            axes.axvline(edge.row, color="C0", lw=1.5)
            label = f"{edge.kind.value} {edge.row:.1f} ± {edge.sigma:.1f}"
            side = "right" if edge.row > len(piece.gain) / 2 else "left"
            axes.text(edge.row, 0.1, f" {label} ", color="C0", ha=side)
        axes.set_title(f"frame {piece.frame}")
        axes.set_xlabel("row, in order of read-out")
    panels[0].set_ylabel("light gained over the ambient")
    return figure


def chart_picture(features) -> Figure:
    """The chart of all flashes on the common timeline."""
    sync = FlashVideoSynchronization(use_cache=False)
    for name, rows in features.items():
        sync.add_features(name, rows)
    sync.synchronize()
    return sync.show_events()


def audio_picture() -> Figure:
    """Offsets of windows of sound over time, and the robust line through them."""
    event = HeardEvent(120, RATE_HZ, seed=1)
    one = event.recorded(Microphone(seed=1, snr_db=0))
    two = event.recorded(Microphone(3.7, 50, snr_db=0, seed=2))
    rough = _rough_line(one, two, 500e-6)
    found = _compare(one, two, rough, REACH_S[0])
    line = _fit_line(found).line
    figure = Figure(figsize=(9, 3), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(found.times, found.offsets * 1e3, "o", color="C1", ms=4, label="windows of 2 s")
    times = np.array([0.0, 120.0])
    label = f"line: drift {line.drift * 1e6:.2f} ppm"
    axes.plot(times, line.at(times) * 1e3, color="C0", label=label)
    axes.set_xlabel("time in the first recording (s)")
    axes.set_ylabel("second's clock minus first's (ms)")
    axes.legend()
    return figure


if __name__ == "__main__":
    main()
