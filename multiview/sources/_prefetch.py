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

    An error of ``items`` is raised to the reader in its place. ``close`` stops the thread after
    the item it works on; ``items`` belongs to the caller again afterwards.
    """

    def __init__(self, items: Iterator[T], depth: int) -> None:
        self._items = items
        self._room = threading.Semaphore(depth)
        self._ready: SimpleQueue[T | _End] = SimpleQueue()
        self._stop = threading.Event()
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
            self._room.release()
            return item
        self._ended = True
        if item.error is not None:
            raise item.error
        raise StopIteration

    def close(self) -> None:
        """Stop the thread and wait for it."""
        self._stop.set()
        self._room.release()
        self._thread.join()
        self._ended = True

    def _work(self) -> None:
        error: Exception | None = None
        try:
            while self._room.acquire() and not self._stop.is_set():
                self._ready.put(next(self._items))
        except StopIteration:
            pass
        except Exception as raised:  # noqa: BLE001 - handed to the reader, who raises it
            error = raised
        self._ready.put(_End(error))
