"""Capture times of live streams against the truth that GStreamer's server draws into them.

``make bench-rtsp`` reads one to four cameras by TCP and UDP, with mixed rates, B-frames, a
sender clock that drifts and reports at the usual interval; before that one long read. It prints
a table and writes ``bench/results/rtsp.json``. The short cases take a minute each: a report comes
every 1 to 7 s, so that is some tens of fits. The long read takes ten minutes: a leak of one
picture per report (0.1 MB every 5 s of four cameras) would show as 48 MB, one of 1 KB per frame as
60 MB. A decoder keeps the buffers of its fullest moment: a step after the machine stalled is no
leak, a slope is.
"""

import json
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from capture_protocol import optical_clock, publish_text
from multiview.live import FrameData, FramePacket, LiveOptions, StreamSynchronizer
from tests.support.rtsp import INSTALL, RtspServer, is_available

RESULTS = Path(__file__).parent / "results" / "rtsp.json"
MS = 1e6
REPORT_S = 5
"""What RFC 3550 gives as the shortest usual interval."""
CASES: dict[str, tuple[str, ...]] = {
    "2 x 30": ("a:30", "b:30:phase=11"),
    "15/25/30": ("a:15", "b:25:phase=7", "c:30:phase=3"),
    "4: 15/25/30/30": ("a:15", "b:25:phase=7", "c:30:phase=3", "d:30:phase=21"),
    "2 x 25, B-frames": ("a:25:b", "b:25:b,phase=13"),
    "2 x 30, +-50 ppm": ("a:30:drift=50", "b:30:drift=-50,phase=9"),
}
LONG_CASE = "4: 15/25/30/30"
PATIENCE_S = 30.0
SETTLED_S = 60.0
"""After this the pools of decoders and allocator have their size."""
MEMORY_EVERY_S = 5.0


@dataclass
class Case:
    """One rig by one transport."""

    name: str
    transport: str
    first_packet_s: float
    packets: int
    whole_packets: int
    """with a frame of every camera"""
    statuses: dict[str, int]
    bias_ms: float
    """median of stated minus true capture time"""
    p99_ms: float
    max_ms: float
    one_frame_outliers: int
    """frames whose time is wrong by more than half their camera's period"""
    within_bound: float
    """share of frames whose true time lies within the stated bound"""
    median_bound_ms: float
    max_spread_ms: float
    """of true capture times within a whole packet"""
    half_frame_ms: float
    """of the slowest camera: what the spread has to stay below"""


@dataclass
class LongRead:
    """Memory of the reading process over time."""

    minutes: float
    packets: int
    overwritten: int
    most_waiting: int
    """decoded pictures at a time; the decoders keep as many buffers from then on"""
    settled_mb: float
    end_mb: float
    slope_mb_per_min: float
    slope_sigma: float
    """standard error of the slope, with what successive samples have in common"""
    python_blocks: tuple[int, int]
    """allocated by Python when settled and at the end"""
    each_minute_mb: list[float]


@contextmanager
def rig(cameras: tuple[str, ...], transport: str) -> Iterator[StreamSynchronizer]:
    """A server's cameras, synchronised; buffers hold two seconds, for busy machines."""
    specs = [f"{spec}{',' if spec.count(':') > 1 else ':'}period={REPORT_S}" for spec in cameras]
    with RtspServer(*specs) as server:
        cams = [{"source": url} for url in server.urls]
        options = LiveOptions(transport=transport)
        with StreamSynchronizer(cams, 1.0, 5, 60, options=options) as streams:
            yield streams


def packets_for(streams: StreamSynchronizer, seconds: float) -> Iterator[FramePacket]:
    """Packets until the time is over."""
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        yield streams.get_frame_packet(PATIENCE_S)


def true_ns(data: FrameData) -> int:
    """The instant that a frame's picture shows (green is nearest to its brightness)."""
    shown = optical_clock.read(np.ascontiguousarray(data["frame"][:, :, 1]))[1].instant_ns
    if shown is None:
        raise ValueError("a picture is unreadable: its frame should not have been FRAME_OKAY")
    return shown


def measure(name: str, transport: str, seconds: float) -> Case:
    """Read a rig and compare every frame's time with what its picture shows."""
    cameras = CASES[name]
    periods_ns = [1e9 / int(spec.split(":")[1]) for spec in cameras]
    rows, spreads, statuses = [], [], Counter[str]()
    start_s = time.monotonic()
    with rig(cameras, transport) as streams:
        first_s = time.monotonic() - start_s if streams.get_frame_packet(PATIENCE_S) else 0.0
        for packet in packets_for(streams, seconds):
            statuses.update(data["frame_status"] for data in packet.values())
            truth = {number: true_ns(data) for number, data in packet.okay.items()}
            if len(truth) == len(cameras):
                spreads.append(max(truth.values()) - min(truth.values()))
            for number, data in packet.okay.items():
                error_ns = data["time_ns"] - truth[number]
                rows.append((error_ns, data["error_bound_ns"], periods_ns[number]))
    errors, bounds, periods = np.array(rows, float).T
    return Case(
        name,
        transport,
        first_packet_s=round(first_s, 2),
        packets=sum(statuses.values()) // len(cameras),
        whole_packets=len(spreads),
        statuses=dict(statuses),
        bias_ms=round(float(np.median(errors)) / MS, 4),
        p99_ms=round(float(np.percentile(np.abs(errors), 99)) / MS, 4),
        max_ms=round(float(np.abs(errors).max()) / MS, 4),
        one_frame_outliers=int((np.abs(errors) > periods / 2).sum()),
        within_bound=round(float((np.abs(errors) <= bounds).mean()), 5),
        median_bound_ms=round(float(np.median(bounds)) / MS, 3),
        max_spread_ms=round(max(spreads) / MS, 2),
        half_frame_ms=round(max(periods_ns) / 2 / MS, 2),
    )


def resident_mb() -> float:
    """Memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def read_long(minutes: float) -> LongRead:
    """Read four cameras and watch the memory."""
    samples: list[tuple[float, float, int]] = []
    count = most_waiting = 0
    start_s = time.monotonic()
    with rig(CASES[LONG_CASE], "tcp") as streams:
        for _ in packets_for(streams, minutes * 60):
            count += 1
            most_waiting = max(most_waiting, streams.waiting)
            elapsed_s = time.monotonic() - start_s
            if elapsed_s > min(SETTLED_S, minutes * 30) + len(samples) * MEMORY_EVERY_S:
                samples.append((elapsed_s / 60, resident_mb(), sys.getallocatedblocks()))
        overwritten = streams.overwritten
    at_min, used_mb, blocks = np.array(samples).T
    edge = max(1, len(used_mb) // 10)
    slope, sigma = slope_of(at_min, used_mb)
    return LongRead(
        minutes,
        count,
        overwritten,
        most_waiting,
        settled_mb=round(float(np.median(used_mb[:edge])), 1),
        end_mb=round(float(np.median(used_mb[-edge:])), 1),
        slope_mb_per_min=round(slope, 3),
        slope_sigma=round(sigma, 3),
        python_blocks=(int(np.median(blocks[:edge])), int(np.median(blocks[-edge:]))),
        each_minute_mb=[round(float(mb), 1) for mb in used_mb[:: round(60 / MEMORY_EVERY_S)]],
    )


def slope_of(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope of a line through a time series and its standard error.

    Memory now is memory a moment ago and a little: ``(1 + r)/(1 - r)`` samples that resemble each
    other by the correlation ``r`` count for one.
    """
    slope, offset = np.polyfit(x, y, 1)
    residuals = y - slope * x - offset
    variance = residuals @ residuals / (len(x) - 2)
    alike = float(residuals[1:] @ residuals[:-1] / max(residuals @ residuals, 1e-12))
    alike = min(max(alike, 0.0), 0.99)
    spread = float(np.sqrt(variance / ((x - x.mean()) ** 2).sum() * (1 + alike) / (1 - alike)))
    return float(slope), spread


def table(cases: list[Case]) -> Table:
    """Show what was measured."""
    shown = Table(title="Live capture times against the truth in the pictures, ms")
    for title in ("cameras", "by", "first s", "packets", "whole", "bias", "p99", "max"):
        shown.add_column(title, justify="right")
    for title in ("outliers", "in bound", "bound", "spread", "limit"):
        shown.add_column(title, justify="right")
    for case in cases:
        cells = (
            case.name,
            case.transport,
            f"{case.first_packet_s:.1f}",
            case.packets,
            case.whole_packets,
            f"{case.bias_ms:+.3f}",
            f"{case.p99_ms:.3f}",
            f"{case.max_ms:.3f}",
            case.one_frame_outliers,
            f"{case.within_bound:.4f}",
            f"{case.median_bound_ms:.2f}",
            f"{case.max_spread_ms:.1f}",
            f"{case.half_frame_ms:.1f}",
        )
        shown.add_row(*map(str, cells))
    return shown


def main(
    seconds: Annotated[float, typer.Option(help="of each short case")] = 60.0,
    minutes: Annotated[float, typer.Option(help="of the long read; 0 leaves it out")] = 10.0,
    only: Annotated[str, typer.Option(help="cases whose name has this in it")] = "",
) -> None:
    """Measure live capture times and memory. Example: python -m bench.rtsp --seconds 20"""
    console = Console(width=140)
    if not is_available():
        console.print(f"GStreamer's RTSP server is missing: {INSTALL}")
        raise typer.Exit(4)
    long = read_long(minutes) if minutes else None  # first: in a process that did nothing else
    runs = [(name, way) for name in CASES if only in name for way in ("tcp", "udp")]
    cases = [measure(*run, seconds) for run in track(runs, console=console)]
    if cases:
        console.print(table(cases))
    if long is not None:
        console.print(
            f"{long.minutes:g} min of {LONG_CASE}: {long.packets} packets, "
            f"{long.settled_mb} MB when settled, {long.end_mb} MB at the end, "
            f"{long.slope_mb_per_min:+.3f} ± {long.slope_sigma:.3f} MB/min (1 sigma), "
            f"{long.most_waiting} pictures waited at most; each minute {long.each_minute_mb} MB; "
            f"Python's blocks {long.python_blocks}"
        )
    result = {"cases": [asdict(case) for case in cases], "long": long and asdict(long)}
    RESULTS.parent.mkdir(exist_ok=True)
    publish_text(RESULTS, json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
