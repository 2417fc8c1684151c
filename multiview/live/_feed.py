"""Keeps one camera's stream flowing: a thread that connects, reads, and connects again."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from multiview.errors import SourceError
from multiview.live._connection import Connection, LiveFrame, LiveOptions, StreamInfo, check_url
from multiview.live._sender_clock import ClockFinding

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 5.0
"""A camera that restarts is back within seconds; more attempts would only load it."""
JOIN_S = 2.0
"""A thread within FFmpeg ends by its own time limit; nobody waits for that."""


def hang_up(*feeds: CameraFeed) -> None:
    """Stop feeds and wait a moment for their threads."""
    for feed in feeds:
        feed.stop()
    deadline_s = time.monotonic() + JOIN_S
    for feed in feeds:
        feed.join(deadline_s)


class FeedListener(Protocol):
    """Who gets a feed's frames; called from the feed's thread."""

    def on_connected(self, info: StreamInfo) -> None:
        """A connection was made (again): times from before it do not compare."""

    def on_frame(self, frame: LiveFrame) -> None:
        """A frame came."""

    def on_failure(self, error: SourceError) -> None:
        """The connection broke, or could not be made."""


class CameraFeed:
    """Reads a stream until it is stopped, whatever the camera does."""

    def __init__(
        self,
        url: str,
        listener: FeedListener,
        options: LiveOptions,
        connect: Callable[[str, LiveOptions], Connection] = Connection,
    ) -> None:
        self.shown_url = check_url(url)
        self._url = url
        self._listener = listener
        self._options = options
        self._connect = connect
        self._stop = threading.Event()
        self._connection: Connection | None = None
        self._thread = threading.Thread(target=self._run, name=self.shown_url, daemon=True)

    @property
    def findings(self) -> tuple[ClockFinding, ...]:
        """Contradictions in the sender's reports over the present connection."""
        connection = self._connection
        return () if connection is None else connection.findings

    def start(self) -> None:
        """Begin to connect."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; see ``join``."""
        self._stop.set()

    def join(self, deadline_s: float) -> None:
        """Wait for the thread's end until this moment of the monotonic clock."""
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(max(0.0, deadline_s - time.monotonic()))

    def _run(self) -> None:
        pauses = reconnect_pauses()
        while not self._stop.is_set():
            try:
                for frame in self._frames():
                    pauses = reconnect_pauses()
                    self._listener.on_frame(frame)
            except SourceError as error:
                if self._stop.is_set():
                    return
                log.warning("%s", error)
                self._listener.on_failure(error)
                self._stop.wait(next(pauses))

    def _frames(self) -> Iterator[LiveFrame]:
        connection = self._connect(self._url, self._options)
        self._connection = connection
        try:
            self._listener.on_connected(connection.info)
            for frame in connection.frames():
                if self._stop.is_set():
                    return
                yield frame
        finally:
            connection.close()


def reconnect_pauses() -> Iterator[float]:
    """How long (s) to wait before each attempt: doubling, up to a limit."""
    pause_s = FIRST_PAUSE_S
    while True:
        yield pause_s
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
