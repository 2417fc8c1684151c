"""Packets that wait to be fetched: a ring whose oldest give way."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")

MAX_BYTES = 1 << 30
"""What a buffer holds at most, also an "unlimited" one: a reader that stopped fills no memory."""


class PacketBuffer(Generic[ItemT]):
    """Keeps the newest packets; ``maxsize`` -1 limits their number by memory only."""

    def __init__(self, maxsize: int, max_bytes: int = MAX_BYTES) -> None:
        self._maxsize = maxsize
        self._max_bytes = max_bytes
        self._packets: deque[tuple[ItemT, int]] = deque()
        self._bytes = 0
        self.overwritten = 0
        """Packets that were never fetched."""

    def __len__(self) -> int:
        return len(self._packets)

    def put(self, packet: ItemT, nbytes: int) -> None:
        """Append a packet that holds so much memory."""
        self._packets.append((packet, nbytes))
        self._bytes += nbytes
        while len(self) > 1 and self._is_over():
            self.get()
            self.overwritten += 1

    def get(self) -> ItemT:
        """Take the oldest packet; IndexError if there is none."""
        packet, nbytes = self._packets.popleft()
        self._bytes -= nbytes
        return packet

    def _is_over(self) -> bool:
        return self._bytes > self._max_bytes or 0 <= self._maxsize < len(self)
