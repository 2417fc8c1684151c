"""How long a reader waits for a disk that gives nothing."""

from __future__ import annotations

from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TypeVar

from multiview.errors import SourceStalledError

T = TypeVar("T")


class Patience:
    """Ends a wait that brings nothing: after ``limit_s`` seconds without a sign of life.

    A disk that is merely slow gives such a sign with every packet, however long the whole takes.
    """

    def __init__(self, path: Path, limit_s: float) -> None:
        self.path = path
        self.limit_s = limit_s
        self._signs = 0

    def sign_of_life(self) -> None:
        """Something was read: the wait begins anew."""
        self._signs += 1

    def take(self, queue: SimpleQueue[T]) -> T:
        """The next item of a queue that another thread fills; raises SourceStalledError."""
        while True:
            seen = self._signs
            try:
                return queue.get(timeout=self.limit_s)
            except Empty:
                if self._signs == seen:
                    raise self.stalled() from None

    def stalled(self) -> SourceStalledError:
        """What to raise when it has run out."""
        return SourceStalledError(
            f"{self.path}: nothing could be read for {self.limit_s:g} s",
            hint="Check the disk or network share, then open() the source again.",
        )
