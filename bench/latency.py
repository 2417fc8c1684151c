"""Capture-to-disk latency: from exposure midpoint to the frame's bytes in the segment file.

A follower reads what FFmpeg appends to a camera's growing segments and finds the evidence in it;
the clock is read when a frame's evidence has become visible to another process.
"""

import threading
import time
from pathlib import Path

import numpy as np

from capture_protocol import FrameRecord
from capture_protocol.errors import InputError
from capture_protocol.evidence import EVIDENCE_UUID
from capture_protocol.frame import FRAME_SIZE
from capture_protocol.nal import unescape

POLL_S = 0.001
"""How often the files are looked at: the resolution of the measurement."""
_ESCAPED_SIZE = len(EVIDENCE_UUID) + FRAME_SIZE * 3 // 2


class SegmentFollower(threading.Thread):
    """Notes for every frame of one camera when its evidence became readable on disk."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self.latencies_ns: list[int] = []
        self._folder = folder
        self._read_to: dict[Path, int] = {}
        self._done = threading.Event()

    def stop(self) -> None:
        """End the following; join afterwards."""
        self._done.set()

    def run(self) -> None:
        """Follow all segments of the folder until stopped."""
        while not self._done.wait(POLL_S):
            for path in self._folder.glob("*.*"):
                self._follow(path)

    def _follow(self, path: Path) -> None:
        start = self._read_to.get(path, 0)
        if path.stat().st_size == start:
            return
        with path.open("rb") as file:
            file.seek(start)
            data = file.read()
        now_ns = time.time_ns()
        at = data.find(EVIDENCE_UUID)
        consumed = 0
        while at >= 0 and at + _ESCAPED_SIZE <= len(data):
            self._note(data[at : at + _ESCAPED_SIZE], now_ns)
            consumed = at + len(EVIDENCE_UUID)
            at = data.find(EVIDENCE_UUID, consumed)
        self._read_to[path] = start + (at if at >= 0 else max(consumed, len(data) - 16))

    def _note(self, escaped: bytes, now_ns: int) -> None:
        payload = unescape(escaped)[len(EVIDENCE_UUID) :][:FRAME_SIZE]
        try:
            record = FrameRecord.unpack(payload)
        except InputError:
            return
        self.latencies_ns.append(now_ns - record.midpoint_ns)


def quantiles_ms(latencies_ns: list[int]) -> dict[str, float]:
    """p50, p99 and maximum in milliseconds."""
    values = np.asarray(latencies_ns, np.float64) / 1e6
    p50, p99 = np.percentile(values, [50, 99])
    return {"p50": float(p50), "p99": float(p99), "max": float(values.max())}
