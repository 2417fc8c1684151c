"""Which frame will have which length: commands on their way to the sensor.

A command travels with a request. The frame that fills the request is known by its cookie; the
sensor has the new length ``vblank_delay`` frames after the next frame's start. Until then the
lengths of the coming frames are settled, and the controller must look past them.
"""

from collections import deque

_LONGEST_GAP = 1_000  # frames; after a longer gap nothing is known about the lengths in between


class FramePlan:
    """Lengths, in lines, of the last seen frame and of all frames that are settled after it.

    Frame ``last + i`` has ``lengths[i]`` lines; the commands that no frame has filled yet are the
    last ``len(pending)`` of them.
    """

    def __init__(self, vblank_delay: int, nominal_lines: int) -> None:
        self.lengths: list[int] = []
        self._settled = vblank_delay + 2  # the last frame, the one that fills, and the delay
        self._nominal = nominal_lines
        self._pending: deque[tuple[int, int]] = deque()
        self._last_sequence: int | None = None
        self._next_cookie = 0

    def issue(self, lines: int) -> int:
        """Note a command that is about to be queued; return its cookie."""
        cookie = self._next_cookie
        self._next_cookie += 1
        self._pending.append((cookie, lines))
        if self.lengths:
            self.lengths.append(lines)
        return cookie

    def advance(self, sequence: int, cookie: int, reported_lines: int) -> int | None:
        """Move on to a frame that was delivered; return the lines since the one before.

        None if the plan had to begin again: first frame, sequence went back, or a long gap.
        ``reported_lines`` (0 if unknown) is what the frame itself says of its length.
        """
        filled = self._fill(cookie)
        gap = None if self._last_sequence is None else sequence - self._last_sequence
        self._last_sequence = sequence
        if gap is None or not 0 < gap <= _LONGEST_GAP:
            self._begin(reported_lines, filled)
            return None
        elapsed = self._shift(max(gap, len(filled)), len(filled))
        if reported_lines:
            self.lengths[0] = reported_lines
        return elapsed

    def _fill(self, cookie: int) -> list[int]:
        """Take the commands up to a cookie off the pending ones; return their lengths."""
        filled = []
        while self._pending and self._pending[0][0] <= cookie:
            filled.append(self._pending.popleft()[1])
        return filled

    def _begin(self, reported_lines: int, filled: list[int]) -> None:
        now = reported_lines or self._nominal
        after = filled[-1] if filled else now
        coming = [lines for _, lines in self._pending]
        self.lengths = [now] * (self._settled - 1) + [after, *coming]

    def _shift(self, frames: int, filled: int) -> int:
        """Drop the frames that have passed; each that filled no command delays those pending."""
        lengths, settled = self.lengths, self._settled
        late = frames - filled
        if late:
            lengths[settled:settled] = [lengths[settled - 1]] * late
        elapsed = sum(lengths[:frames])
        del lengths[:frames]
        return elapsed
