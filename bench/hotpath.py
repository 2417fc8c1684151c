"""What a slot costs the capture process: from release to hand-over, and what stays allocated.

Runs the agent's own `CameraTrack` (slot, evidence, event log, wake-up) as fast as it goes, fed
by a camera whose frames were made beforehand: what is measured is the agent, not a simulator.
"""

import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from capture_protocol import FrameFlag, Grid, LockState, Start
from capture_protocol.clock import read_clock
from capture_protocol.rig import RealtimeSection
from edge_agent.camera import CameraFrame
from edge_agent.capture import CameraTrack, ClockMap, Recording, take_rights
from edge_agent.eventlog import RingWriter

_RATE = Fraction(60)
_WARM_UP = 2_048  # past the ledger's memory of releases, which fills once
_SLOTS_PER_S = 3_000  # of measuring time: a slot is far cheaper, this bounds memory
_EXPOSURE_NS, _LINE_NS, _ROWS = 4_000_000, 13_361, 1296


class PreparedCamera:
    """A camera that has all its frames already; each release makes the next one complete."""

    shows_instant = True
    settle_ns = 0
    next_due_ns = None
    lock_state = int(LockState.LOCKED)
    problem = ""

    def __init__(self, grid: Grid, slots: int) -> None:
        delay_ns = _EXPOSURE_NS // 2 - _ROWS // 2 * _LINE_NS
        self._batches = [
            [
                CameraFrame(
                    frame_start_ns=grid.time_ns(slot) + delay_ns,
                    exposure_ns=_EXPOSURE_NS,
                    line_time_ns=_LINE_NS,
                    rows=_ROWS,
                    sequence=slot,
                    frame_duration_ns=grid.period_ns,
                    gain_milli=1000,
                    sensor_delay_ns=0,
                    stamp_uncertainty_ns=3000,
                    flags=int(FrameFlag.SIMULATED),
                    picture=grid.time_ns(slot),
                )
            ]
            for slot in range(slots)
        ]
        self._next = 0

    def follow(self, grid: Grid) -> None:
        """The frames are made already."""

    def prepare(self, slot: int) -> None:
        """Nothing to choose."""

    def release(self, slot: int, now_ns: int) -> None:  # noqa: ARG002
        """The frame of this slot is complete."""
        self._next = slot

    def frames(self, now_ns: int) -> Sequence[CameraFrame]:  # noqa: ARG002
        """The frame of the last release."""
        return self._batches[self._next]

    def close(self) -> None:
        """Nothing to release."""


def run(seconds: float = 5.0) -> dict[str, Any]:
    """Measure for about ``seconds``, in a child: the rights of a capture process stay with it."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_measure, args=(theirs, seconds))
    child.start()
    result: dict[str, Any] = ours.recv()
    child.join()
    return result


def table(result: dict[str, Any]) -> Table:
    """The result for a terminal."""
    title = f"hot path in µs, {result['slots']} slots ({result['mode']})"
    shown = Table(title=title)
    for column in ("part", "p50", "p99", "max"):
        shown.add_column(column, justify="left" if column == "part" else "right")
    for name, row in result["parts"].items():
        shown.add_row(name, *(f"{row[key]:.1f}" for key in ("p50_us", "p99_us", "max_us")))
    shown.caption = f"blocks allocated and kept over all slots: {result['blocks_kept']}"
    return shown


def _measure(pipe: Any, seconds: float) -> None:
    slots = _WARM_UP + round(seconds * _SLOTS_PER_S)
    clock = ClockMap(read_clock())
    grid = Grid(time.monotonic_ns(), _RATE)
    with tempfile.TemporaryDirectory() as folder:
        log = RingWriter(Path(folder) / "bench.ring")
        track = CameraTrack(0, "bench", PreparedCamera(grid, slots), log, _wake())
        start = Start(1, grid.moved(clock.offset_ns).t0_ns, _RATE, 60, 600)
        track.begin(Recording(start, None, clock))
        rights = take_rights(RealtimeSection())
        release_ns, handover_ns = np.zeros(slots, np.int64), np.zeros(slots, np.int64)
        _run_slots(track, clock, grid, range(_WARM_UP), release_ns, handover_ns)
        before = sys.getallocatedblocks()
        _run_slots(track, clock, grid, range(_WARM_UP, slots), release_ns, handover_ns)
        kept = sys.getallocatedblocks() - before
        _require_all_taken(track, slots)
        log.close()
    measured = slice(_WARM_UP, None)
    pipe.send(
        {
            "slots": slots - _WARM_UP,
            "mode": str(rights),
            "blocks_kept": kept,
            "parts": {
                "release and its event": _summary(release_ns[measured]),
                "frame to hand-over": _summary(handover_ns[measured]),
                "both": _summary((release_ns + handover_ns)[measured]),
            },
        }
    )


def _require_all_taken(track: CameraTrack, slots: int) -> None:
    """Raise RuntimeError where the path measured was not the one of a delivered frame."""
    if track.ledger.captured != slots:
        raise RuntimeError(f"only {track.ledger.captured} of {slots} frames were handed over")


def _run_slots(
    track: CameraTrack,
    clock: ClockMap,
    grid: Grid,
    slots: range,
    release_ns: "np.ndarray[Any, Any]",
    handover_ns: "np.ndarray[Any, Any]",
) -> None:
    clock_ns = time.monotonic_ns
    for slot in slots:
        begun_ns = clock_ns()
        track.release(slot)
        track.write_release(slot, begun_ns, 0)
        released_ns = clock_ns()
        track.poll(released_ns, clock, grid)
        done_ns = clock_ns()
        release_ns[slot] = released_ns - begun_ns
        handover_ns[slot] = done_ns - released_ns


def _wake() -> int:
    return os.eventfd(0, os.EFD_NONBLOCK)


def _summary(found_ns: "np.ndarray[Any, Any]") -> dict[str, Any]:
    p50, p99, worst = np.percentile(found_ns, (50, 99, 100)) / 1e3
    return {
        "p50_us": round(float(p50), 2),
        "p99_us": round(float(p99), 2),
        "max_us": round(float(worst), 2),
    }
