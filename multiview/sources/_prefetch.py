"""Work ahead of the reader, in a thread, a bounded number of items."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Generic, Self, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class _End:
    error: Exception | None = None


class Prefetch(Generic[T]):
    """An iterator over ``items`` that a thread keeps up to ``depth`` items ahead.

    The thread is given room for half of them at a time, so that it and the reader wait for each
    other once in a while and not for every item: both need Python's lock to wake up.

    An error of ``items`` is raised to the reader in its place. ``close`` stops the thread after
    the item it works on; ``items`` belongs to the caller again afterwards.
    """

    def __init__(self, items: Iterator[T], depth: int) -> None:
        self._items = items
        self._half = (depth + 1) // 2
        self._taken = 0
        self._room: SimpleQueue[int] = SimpleQueue()
        self._room.put(self._half)
        self._room.put(depth - self._half)
        self._ready: SimpleQueue[T | _End] = SimpleQueue()
        self._stop = False
        self._ended = False
        self._thread = threading.Thread(target=self._work, name="prefetch", daemon=True)
        self._thread.start()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        if self._ended:
            raise StopIteration
        item = self._ready.get()
        if not isinstance(item, _End):
            self._make_room()
            return item
        self._ended = True
        if item.error is not None:
            raise item.error
        raise StopIteration

    def close(self) -> None:
        """Stop the thread and wait for it."""
        self._stop = True
        self._room.put(0)
        self._thread.join()
        self._ended = True

    def _make_room(self) -> None:
        self._taken += 1
        if self._taken == self._half:
            self._taken = 0
            self._room.put(self._half)

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
