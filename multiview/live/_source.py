"""One live stream behind the contract of every video source."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from statistics import NormalDist
from types import MappingProxyType
from typing import Self

from capture_protocol.errors import InputError
from multiview._released import Released
from multiview.errors import SourceClosedError, SourceError, SourceStalledError
from multiview.live._camera import Camera
from multiview.live._connection import LiveFrame, LiveOptions, StreamInfo
from multiview.live._feed import CameraFeed, hang_up
from multiview.live._packet import frame_type
from multiview.sources import Clock, Frame, Picture, VideoMetadata

SIGMAS_IN_BOUND = NormalDist().inv_cdf(0.995)
"""Bounds hold with 99 % confidence, uncertainties are one standard deviation."""
REOPEN = "Make a new source, and open() it before reading."
ARRIVAL_SIGMA_NS = 500_000_000
"""Of times by arrival: live streams are usually late by up to a second, and do not tell."""


class LiveVideoSource(Released):
    """A camera's stream as a source; connects anew whenever the camera goes away.

    ``window`` is how many of the newest frames are kept: whoever reads more slowly than the
    camera sends misses the oldest, and sees it by their ``frame_number``. Frames' metadata hold
    ``timing``, ``clock``, ``error_bound_ns`` and ``frame_type`` as in a frame packet, and
    ``time_break`` (counts how often times started anew: reconnected, or the clock was set).
    """

    def __init__(
        self,
        url: str,
        camera_id: str = "live",
        options: LiveOptions | None = None,
        *,
        window: int = 64,
    ) -> None:
        if window < 2:
            raise InputError(f"a window holds at least 2 frames, not {window}")
        self.camera_id = camera_id
        self._options = options or LiveOptions()
        self._feed = CameraFeed(url, self, self._options)
        self._camera = Camera(max_read_errors=0)
        self._changed = threading.Condition()
        self._window: deque[Frame] = deque(maxlen=window)
        self._info: StreamInfo | None = None
        self._first_ns = 0
        self._count = 0
        self._breaks = -1
        self._cursor = 0
        self._from_ns: int | None = None
        self._failure: SourceError | None = None
        self._state = "new"

    def open(self) -> None:
        """Connect and wait for the first frame.

        Raises SourceError if the camera cannot be reached; later it is reconnected silently.
        """
        if self._state != "new":
            raise SourceClosedError(f"{self._feed.shown_url} was opened before", hint=REOPEN)
        self._state = "open"
        self._feed.start()
        with self._changed:
            self._changed.wait_for(lambda: self._window or self._failure, self._first_limit_s)
            failure = None if self._window else self._failure or self._stalled(self._first_limit_s)
        if failure is not None:
            self.release()
            raise failure

    def get_metadata(self) -> VideoMetadata:
        """As announced by the stream; a live stream has no end."""
        self._check_open()
        info = self._info
        if info is None:
            raise SourceClosedError(f"{self._feed.shown_url} has not sent anything yet")
        notes = tuple(
            f"sender clock {finding.verdict}: step of {finding.step_ns / 1e6:.1f} ms"
            for finding in self._feed.findings
        )
        return VideoMetadata(
            self.camera_id,
            info.width,
            info.height,
            info.fps,
            info.codec,
            Clock.UTC,
            start_ns=self._first_ns,
            notes=notes,
        )

    def read_frame(self) -> Frame | None:
        """The next frame; waits for it. A live stream has no end, so it is never None.

        Raises SourceStalledError after the time limit; reading on may succeed later.
        """
        self._wait_for(lambda: self._next() is not None, self._options.stall_timeout_s)
        with self._changed:
            frame = self._next()
            if frame is None:
                raise SourceStalledError(f"{self._feed.shown_url} started anew: read again")
            self._cursor = frame.frame_number + 1
            return frame

    def frames(self, start_ns: int | None = None, end_ns: int | None = None) -> Iterator[Frame]:
        """Frames as they come, until one is at or after ``end_ns``."""
        if start_ns is not None:
            self.seek(start_ns)
        while (frame := self.read_frame()) is not None:
            if end_ns is not None and frame.time_ns >= end_ns:
                return
            yield frame

    def frame_at(self, time_ns: int) -> Frame:
        """The nearest of the kept frames; waits for one at or after this time, within limits."""
        deadline_s = time.monotonic() + self._options.stall_timeout_s
        with self._changed:
            self._check_open()
            while self._window[-1].time_ns < time_ns and time.monotonic() < deadline_s:
                self._changed.wait(deadline_s - time.monotonic())
                self._check_open()
            return min(self._window, key=lambda frame: abs(frame.time_ns - time_ns))

    def seek(self, time_ns: int) -> None:
        """Let ``read_frame`` go on with the first kept or coming frame at or after this time."""
        with self._changed:
            self._check_open()
            self._cursor, self._from_ns = 0, time_ns

    def release(self) -> None:
        """Hang up."""
        with self._changed:
            was_open = self._state == "open"
            self._state = "released"
            self._window.clear()
            self._changed.notify_all()
        if was_open:
            hang_up(self._feed)

    def __enter__(self) -> Self:
        self.open()
        return self

    def on_connected(self, info: StreamInfo) -> None:
        """The feed has a connection."""
        with self._changed:
            self._info = info
            self._camera.connected()

    def on_frame(self, frame: LiveFrame) -> None:
        """The feed has a frame."""
        with self._changed:
            if self._state != "open":
                return
            self._failure = None
            self._breaks += self._camera.took(frame.stamp, frame.damaged)
            self._window.append(self._frame(frame))
            self._first_ns = self._first_ns or frame.stamp.time_ns
            self._count += 1
            self._changed.notify_all()

    def on_failure(self, error: SourceError) -> None:
        """The feed lost its connection."""
        with self._changed:
            self._failure = error
            self._changed.notify_all()

    @property
    def _first_limit_s(self) -> float:
        return self._options.open_timeout_s + self._options.report_wait_s

    def _frame(self, frame: LiveFrame) -> Frame:
        stamp = frame.stamp
        sigma_ns = ARRIVAL_SIGMA_NS if stamp.bound_ns is None else stamp.bound_ns / SIGMAS_IN_BOUND
        known = {
            "timing": stamp.timing.value,
            "clock": stamp.clock.value,
            "error_bound_ns": stamp.bound_ns,
            "frame_type": frame_type(frame.decoded),
            "time_break": self._breaks,
        }
        return Frame(
            self.camera_id,
            stamp.time_ns,
            self._count,
            Picture(frame.decoded),
            round(sigma_ns),
            reason="the picture refers to lost ones" if frame.damaged else "",
            metadata=MappingProxyType(known),
        )

    def _next(self) -> Frame | None:
        from_ns = self._from_ns
        for frame in self._window:
            if frame.frame_number >= self._cursor and (from_ns is None or frame.time_ns >= from_ns):
                return frame
        return None

    def _wait_for(self, condition: Callable[[], object], limit_s: float) -> None:
        with self._changed:
            self._check_open()
            there = self._changed.wait_for(lambda: condition() or self._state != "open", limit_s)
            self._check_open()
            if not there:
                raise self._stalled(limit_s)

    def _stalled(self, limit_s: float) -> SourceStalledError:
        why = self._failure or "connected, but silent"
        return SourceStalledError(f"{self._feed.shown_url}: no frame in {limit_s:g} s ({why})")

    def _check_open(self) -> None:
        if self._state != "open":
            raise SourceClosedError(f"{self._feed.shown_url} is not open", hint=REOPEN)
