"""The picamera backend by itself, on real cameras: libcamera's virtual ones, or those of a Pi.

A capture loop in small releases requests on the grid and reads every picture as a worker does.
Prints one JSON object with what came of it. On a Pi:

    python tests/system/picamera2_backend.py --devices 0,1 --size 1536x864 --slots 1800
"""

import argparse
import fcntl
import itertools
import json
import os
import struct
import termios
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from capture_protocol.grid import Grid
from capture_protocol.rig import NodeCamera
from edge_agent.camera import CameraFrame, open_camera
from edge_agent.capture import sleep_until
from edge_agent.picamera import PicameraCamera, SharedPictures, list_cameras

MARGIN_NS = 1_000_000
FOLDER = Path("/tmp")
SETTLE_SLOTS = 60  # two seconds to lock


class Recorded:
    """One camera, the worker's view of it, and what both saw."""

    def __init__(self, index: int, device: str, width: int, height: int) -> None:
        config = NodeCamera(
            name=f"cam{index}",
            backend="picamera",
            device=device,
            index=index,
            stream_port=7710 + index,
            width=width,
            height=height,
            options={"buffers": 16},
        )
        camera = open_camera(config, FOLDER)
        if not isinstance(camera, PicameraCamera):
            raise SystemExit("the factory gave another backend")
        self.camera = camera
        self.pictures = SharedPictures(config, FOLDER)
        self.frames: list[CameraFrame] = []
        self.locks: list[int] = []
        self.queued_before_release = -1
        self.mean_luma: set[float] = set()

    @property
    def picam2(self) -> Any:
        return self.camera._device._picam2  # type: ignore[attr-defined]

    def take(self, now_ns: int) -> None:
        for frame in self.camera.frames(now_ns):
            self.frames.append(frame)
            self.locks.append(int(self.camera.lock_state))
            shown = self.pictures.picture(None, frame.picture)  # type: ignore[arg-type]
            luma = np.frombuffer(shown.planes[0], np.uint8)
            self.mean_luma.add(round(float(luma.mean()), 1))

    def result(self, grid: Grid) -> dict[str, Any]:
        frames = self.frames[SETTLE_SLOTS:]
        middles = [f.frame_start_ns - f.exposure_ns // 2 for f in frames]
        slots = [grid.nearest_slot(middle) for middle in middles]
        errors = [middle - grid.time_ns(slot) for middle, slot in zip(middles, slots, strict=True)]
        waiting = fcntl.ioctl(self.picam2.notifyme_r, termios.FIONREAD, b"\0" * 4)
        return {
            "frames": len(self.frames),
            "missed_by_sensor": self.camera.missed,
            "first_lock_frame": self.locks.index(2) if 2 in self.locks else None,
            "locked_share": sum(lock == 2 for lock in self.locks[SETTLE_SLOTS:]) / len(frames),
            "grid_error_us": {
                "p50": float(np.percentile(np.abs(errors), 50)) / 1e3,
                "p99": float(np.percentile(np.abs(errors), 99)) / 1e3,
                "max": float(np.max(np.abs(errors))) / 1e3,
            },
            "slots_ascend": all(b > a for a, b in itertools.pairwise(slots)),
            "sequences_ascend": all(
                b.sequence > a.sequence for a, b in itertools.pairwise(self.frames)
            ),
            "opened": self.picam2.camera.id,
            "mode": self.camera._mode.name,
            "top_rate_hz": self.camera._mode.top_rate_hz,
            "control_delay_frames": self.camera._genlock._plan.delay.frames,
            "stamp_clock": self.camera.stamp_clock,
            "flags": frames[-1].flags,
            "overwritten": self.camera._pool.overwritten,
            "mean_luma": sorted(self.mean_luma)[:4],
            "queued_before_release": self.queued_before_release,
            "bytes_in_notify_pipe": struct.unpack("i", waiting)[0],
        }


def run(cameras: list[Recorded], rate: Fraction, slots: int) -> Grid:
    """Follow a grid for so many slots."""
    grid = Grid(time.monotonic_ns() + 100_000_000, rate)
    for each in cameras:
        each.camera.follow(grid)
        each.queued_before_release = len(each.camera._queued)
    for slot in range(slots):
        release_ns = grid.time_ns(slot)
        while (now_ns := time.monotonic_ns()) < release_ns - MARGIN_NS:
            for each in cameras:
                each.take(now_ns)
            due_ns = min(each.camera.next_due_ns or release_ns for each in cameras)
            sleep_until(min(due_ns, release_ns - MARGIN_NS))
        for each in cameras:
            each.camera.prepare(slot)
        sleep_until(release_ns)
        for each in cameras:
            each.camera.release(slot, time.monotonic_ns())
    return grid


def main() -> None:
    """Two cameras, then both again at another rate."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--slots", type=int, default=300)
    parser.add_argument("--size", default="640x480")
    parser.add_argument("--devices", default="Virtual0,Virtual1")
    wish = parser.parse_args()
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
    found = list_cameras()
    width, height = map(int, wish.size.split("x"))
    devices = enumerate(wish.devices.split(","))
    cameras = [Recorded(index, device, width, height) for index, device in devices]
    grid = run(cameras, Fraction(30), wish.slots)
    results = [each.result(grid) for each in cameras]
    for each in cameras:
        each.frames.clear()
        each.locks.clear()
    run(cameras, Fraction(20), 60)
    again = [
        {"frames": len(each.frames), "queued_before_release": each.queued_before_release}
        for each in cameras
    ]
    for each in cameras:
        each.camera.close()
        each.pictures.close()
    print(json.dumps({"found": found, "cameras": results, "at_20_fps": again}))


if __name__ == "__main__":
    main()
