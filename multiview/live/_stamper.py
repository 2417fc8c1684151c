"""Stamps packets with the best time there is: by reports, backwards from the first, by arrival."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from typing import Generic, TypeVar

from multiview.live._reports import ClockPoint
from multiview.live._sender_clock import SenderClock
from multiview.live._stamp import Stamp, Timing

ItemT = TypeVar("ItemT")

OFFSETS_KEPT = 256
"""Some 10 s of video: enough to meet a packet that waited nowhere."""


class ArrivalClock:
    """Stream time to the receiver's UTC: the packet that waited least tells the offset."""

    def __init__(self) -> None:
        self._offsets: deque[int] = deque(maxlen=OFFSETS_KEPT)

    def add(self, source_ns: int, arrival_ns: int) -> None:
        """Take a packet's stream time and arrival."""
        self._offsets.append(arrival_ns - source_ns)

    @property
    def offset_ns(self) -> int:
        """Arrival minus stream time of a packet without delay."""
        return min(self._offsets)


class Stamper(Generic[ItemT]):
    """Gives packets their stamps, holding them back until the first report, but not for ever.

    ``wait_ns`` is how long a first report is waited for and ``limit_bytes`` how much may be held
    back meanwhile; after that packets are stamped by arrival, until a report comes after all.
    """

    def __init__(self, wait_ns: int, limit_bytes: int) -> None:
        self.clock = SenderClock()
        self._wait_ns = wait_ns
        self._limit_bytes = limit_bytes
        self._arrivals = ArrivalClock()
        self._held: deque[tuple[ItemT, int | None]] = deque()
        self._held_bytes = 0
        self._first_arrival_ns: int | None = None
        self._gave_up = False

    def report(self, point: ClockPoint, arrival_ns: int, source_ns: int) -> None:
        """Take a sender report that came with the packet of ``source_ns``."""
        self._arrivals.add(source_ns, arrival_ns)
        self.clock.add(point, self._arrivals.offset_ns)

    def take(
        self, item: ItemT, size: int, source_ns: int | None, arrival_ns: int
    ) -> Iterator[tuple[ItemT, Stamp | None]]:
        """Packets that can be stamped now, in their order; those without a stream time get None."""
        if self._first_arrival_ns is None:
            self._first_arrival_ns = arrival_ns
        if source_ns is not None:
            self._arrivals.add(source_ns, arrival_ns)
        if self.clock.timeline is not None:
            yield from self._release(Timing.BACK_DATED)
            yield item, self._stamp(source_ns, Timing.SENDER_REPORT)
            return
        self._held.append((item, source_ns))
        self._held_bytes += size
        waited_ns = arrival_ns - self._first_arrival_ns
        self._gave_up |= waited_ns >= self._wait_ns or self._held_bytes > self._limit_bytes
        if self._gave_up:
            yield from self._release(Timing.ARRIVAL)

    def _release(self, timing: Timing) -> Iterator[tuple[ItemT, Stamp | None]]:
        while self._held:
            item, source_ns = self._held.popleft()
            yield item, self._stamp(source_ns, timing)
        self._held_bytes = 0

    def _stamp(self, source_ns: int | None, timing: Timing) -> Stamp | None:
        if source_ns is None:
            return None
        if timing is Timing.ARRIVAL:
            return Stamp(source_ns + self._arrivals.offset_ns, None, timing)
        stamp = replace(self.clock.stamp(source_ns), timing=timing)
        # a report after frames that were stamped by arrival starts a new count of time
        return replace(stamp, epoch=stamp.epoch + 1) if self._gave_up else stamp
