"""What a stream costs on node and server, and how soon a frame is on disk.

One agent with N simulated cameras and one server record for a while on this machine; processor time
and memory are read in the middle of it, so that starting up does not count. The simulated sensor's
pictures are rendered by the same processes: a real camera costs less.
"""

import tempfile
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.latency import SegmentFollower, quantiles_ms
from bench.processes import Usage, session_members, usage, working_below
from capture_protocol import SessionFolder
from control_server.audit import run_audit
from control_server.demo.local_rig import LocalRig, LocalWish
from control_server.demo.run import wait_until_ready
from control_server.manager.process import ask
from control_server.manager.requests import StartRequest, StatusRequest

COUNTS = (1, 4, 16, 32)
READY_WAIT_S = 120.0


@dataclass(frozen=True, slots=True)
class Load:
    """Usage of both sides at one instant."""

    at_s: float
    agent: Usage
    server: Usage


def run(seconds: float = 8.0, counts: tuple[int, ...] = COUNTS) -> dict[str, Any]:
    """Cost per stream at each number of streams, and the latency of the first camera."""
    return {"streams": [_run_with(count, seconds) for count in counts]}


def table(result: dict[str, Any]) -> Table:
    """The result for a person."""
    shown = Table(title="Streams: cost of one (640×480 unless said), both ends on this machine")
    for head in (
        "streams",
        "picture",
        "node: % of a core",
        "node: MB",
        "server: % of a core",
        "server: MB",
        "delivered",
        "to disk ms p50 / p99 / max",
    ):
        shown.add_column(head, justify="right")
    for row in result["streams"]:
        latency = row["latency_ms"]
        shown.add_row(
            str(row["streams"]),
            f"{row['width']}×{row['height']}@{row['rate']}",
            f"{row['agent_core_percent']:.1f}",
            f"{row['agent_mb']:.0f}",
            f"{row['server_core_percent']:.2f}",
            f"{row['server_mb']:.0f}",
            f"{row['delivered']} of {row['wanted']}",
            f"{latency['p50']:.0f} / {latency['p99']:.0f} / {latency['max']:.0f}",
        )
    return shown


def _run_with(count: int, seconds: float) -> dict[str, Any]:
    # Two cores encode about eight full streams; more of them are measured smaller and slower.
    width, height, rate = (640, 480, "30") if count <= 4 else (320, 240, "10")
    wish = LocalWish(nodes=1, cameras_per_node=count, width=width, height=height, rate=rate, gop=10)
    with tempfile.TemporaryDirectory(prefix="tutti-bench-") as folder:
        with LocalRig(Path(folder), wish) as rig:
            loads, latencies, session = _record(rig, seconds, Fraction(rate))
        result = run_audit(session).result
    begin, end = loads
    elapsed_s = end.at_s - begin.at_s
    return {
        "streams": count,
        "width": width,
        "height": height,
        "rate": rate,
        "agent_core_percent": 100 * (end.agent.cpu_s - begin.agent.cpu_s) / elapsed_s / count,
        "agent_mb": end.agent.memory_bytes / 1e6 / count,
        "server_core_percent": 100 * (end.server.cpu_s - begin.server.cpu_s) / elapsed_s / count,
        "server_mb": end.server.memory_bytes / 1e6 / count,
        "delivered": sum(camera.delivered for camera in result.cameras),
        "wanted": sum(camera.slots for camera in result.cameras),
        "latency_ms": quantiles_ms(latencies),
    }


def _record(
    rig: LocalRig, seconds: float, rate: Fraction
) -> tuple[tuple[Load, Load], list[int], SessionFolder]:
    """One session; loads at a quarter and at three quarters of it."""
    wait_until_ready(rig, READY_WAIT_S)
    frames = int(seconds * rate)
    started = ask(rig.place, StartRequest(frames=frames), lambda _: None)
    folder = SessionFolder(Path(started["folder"]))
    follower = SegmentFollower(folder.video(started["cameras"][0]))
    follower.start()
    grid = folder.read_plan().grid
    loads = []
    for slot in (frames // 4, frames * 3 // 4):
        while time.time_ns() < grid.time_ns(slot):
            time.sleep(0.01)
        loads.append(_load(rig))
    while folder.read_manifest() is None:
        ask(rig.place, StatusRequest(), lambda _: None)
        time.sleep(0.2)
    follower.stop()
    follower.join()
    return (loads[0], loads[1]), follower.latencies_ns, folder


def _load(rig: LocalRig) -> Load:
    status = ask(rig.place, StatusRequest(), lambda _: None)
    agents = [pid for agent in rig.agents.values() for pid in session_members(agent.pid)]
    ffmpegs = working_below(rig.place.storage)
    return Load(time.monotonic(), usage(agents), usage({status["pid"], *ffmpegs}))


def main() -> None:
    """Measure and print."""
    Console().print(table(run()))


if __name__ == "__main__":
    main()
