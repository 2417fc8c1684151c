"""Work in a thread for a reader who does not wait for ever: on demand, or some items ahead."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Generic, Self, TypeVar

from multiview.errors import SourceStalledError
from multiview.sources._patience import Patience

T = TypeVar("T")


@dataclass(frozen=True)
class _End:
    error: Exception | None = None


class Prefetch(Generic[T]):
    """An iterator over ``items`` that a thread works on: item by item, or after ``read_ahead``
    up to so many ahead.

    A read from a disk that went away cannot be broken off: whoever waits for it himself hangs.
    When ``patience`` ends, the reader gets SourceStalledError and the thread is left behind; it
    ends when the read does. An error of ``items`` is raised to the reader in its place.
    """

    def __init__(self, items: Iterator[T], patience: Patience) -> None:
        self._items = items
        self._patience = patience
        self._batch = 1
        self._taken = 0
        self._is_ahead = False
        self._room: SimpleQueue[int] = SimpleQueue()
        self._ready: SimpleQueue[T | _End] = SimpleQueue()
        self._stop = False
        self._ended = False
        self._thread = threading.Thread(target=self._work, name="prefetch", daemon=True)
        self._thread.start()

    def read_ahead(self, depth: int) -> None:
        """From now on keep up to ``depth`` items ahead.

        The thread is given room for half of them at a time, so that it and the reader wait for
        each other once in a while and not for every item: both need Python's lock to wake up.
        """
        if self._is_ahead:
            return
        self._is_ahead = True
        self._batch = (depth + 1) // 2
        self._room.put(self._batch)
        self._room.put(depth - self._batch)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        if self._ended:
            raise StopIteration
        if not self._is_ahead:
            self._room.put(1)
        try:
            item = self._patience.take(self._ready)
        except SourceStalledError:
            self.stop()
            raise
        if not isinstance(item, _End):
            self._make_room()
            return item
        self._ended = True
        if item.error is not None:
            raise item.error
        raise StopIteration

    def stop(self) -> None:
        """Let the thread end after the item it works on, without waiting for that."""
        self._stop = self._ended = True
        self._room.put(0)

    def close(self) -> None:
        """Stop the thread and wait for it; ``items`` belongs to the caller again.

        Raises:
            SourceStalledError: the item does not come; the thread keeps ``items``.
        """
        self.stop()
        self._thread.join(self._patience.limit_s)
        if self._thread.is_alive():
            raise self._patience.stalled()

    def _make_room(self) -> None:
        self._taken += self._is_ahead
        if self._taken == self._batch:
            self._taken = 0
            self._room.put(self._batch)

    def _work(self) -> None:
        error: Exception | None = None
        try:
            while not self._stop:
                self._fill(self._room.get())
        except StopIteration:
            pass
        except Exception as raised:  # noqa: BLE001 - handed to the reader, who raises it
            error = raised
        self._ready.put(_End(error))

    def _fill(self, count: int) -> None:
        for _ in range(count):
            if self._stop:
                return
            self._ready.put(next(self._items))


def in_time(patience: Patience, work: Callable[[], T]) -> T:
    """The result of a call that may be kept waiting by a disk; raises SourceStalledError."""

    def result() -> Iterator[T]:
        yield work()

    worker = Prefetch(result(), patience)
    try:
        done = next(worker)
    finally:
        worker.stop()
    worker.close()
    return done
