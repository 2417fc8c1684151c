"""Reading by time and in order, for sources that know all their frames beforehand."""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_left
from collections.abc import Iterator
from typing import Self

import numpy as np
from numpy.typing import NDArray

from multiview._released import Released
from multiview.sources._contract import Frame, VideoMetadata

Times = NDArray[np.int64]
LATEST_NS = 2**62
"""A time beyond ±146 years is damage, and would overflow the arithmetic of differences."""


class NumberedSource(Released):
    """A source whose frames have known times and can be asked for by number."""

    camera_id: str
    _next = 0

    @property
    @abstractmethod
    def times_ns(self) -> Times:
        """Times of all frames in order; raises SourceClosedError if the source is not open."""

    @abstractmethod
    def frame_by_number(self, number: int) -> Frame:
        """Frame ``number`` in order of presentation; raises IndexError outside the source."""

    @abstractmethod
    def open(self) -> None:
        """Open for reading; the first frame is the next to be read."""

    @abstractmethod
    def get_metadata(self) -> VideoMetadata:
        """Size, rate, extent and findings."""

    @abstractmethod
    def release(self) -> None:
        """Close files and drop buffered frames."""

    def frame_at(self, time_ns: int) -> Frame:
        """The frame whose time is nearest; of two equally near, the earlier."""
        return self.frame_by_number(nearest(self.times_ns, time_ns))

    def frames(self, start_ns: int | None = None, end_ns: int | None = None) -> Iterator[Frame]:
        """Every frame with ``start_ns <= time < end_ns``, lazily and in order."""
        times = self.times_ns
        first = 0 if start_ns is None else first_from(times, start_ns)
        end = len(times) if end_ns is None else first_from(times, end_ns)
        return map(self.frame_by_number, range(first, end))

    def read_frame(self) -> Frame | None:
        """The next frame, or None at the end."""
        if self._next >= len(self.times_ns):
            return None
        self._next += 1
        return self.frame_by_number(self._next - 1)

    def seek(self, time_ns: int) -> None:
        """Let ``read_frame`` continue with the first frame at or after this time."""
        self._next = first_from(self.times_ns, time_ns)

    def __enter__(self) -> Self:
        self.open()
        return self

    def _check_number(self, number: int) -> None:
        count = len(self.times_ns)
        if not 0 <= number < count:
            raise IndexError(f"frame {number} of {self.camera_id}: there are {count}")


def nearest(times_ns: Times, time_ns: int) -> int:
    """Number of the frame nearest in time; of two equally near, the earlier."""
    after = first_from(times_ns, time_ns)
    if after == 0:
        return 0
    early = int(times_ns[after - 1])
    if after < len(times_ns) and int(times_ns[after]) - time_ns < time_ns - early:
        return after
    return first_from(times_ns, early)


def first_from(times_ns: Times, time_ns: int) -> int:
    """Number of the first frame at or after this time; the count of frames if there is none.

    Not by numpy, which lets go of Python's lock here: decoding threads would take it every time.
    """
    return bisect_left(times_ns, max(-LATEST_NS, min(LATEST_NS, time_ns)))
