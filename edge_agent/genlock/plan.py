"""Which frame will have which length: commands on their way to the sensor.

A command travels with a request. The frame that fills the request is known by its cookie; the
command is written at the next frame's start, and the sensor has the new length some frames after
that (the control delay). Until then the lengths of the coming frames are settled, and the
controller must look past them.
"""

from collections import deque

_LONGEST_GAP = 1_000  # frames; after a longer gap nothing is known about the lengths in between
_LONGEST_DELAY = 8  # frames from write to effect; no sensor helper of libcamera has more than 3
_REMEMBERED_FILLS = 4 * _LONGEST_DELAY
_VOTES_TO_CORRECT = 3  # one surprise may be a frame that the camera repeated or clamped
_CALM_FRAMES = 100  # so long without a surprise, earlier votes are void


class ControlDelay:
    """Frames from the write of a length to the frame that has it: declared, then observed.

    The frames report their lengths, so a wrong delay shows: the controller would correct every
    phase error twice and never lock. Each surprise votes for the delays that explain it.
    """

    def __init__(self, declared: int) -> None:
        self.frames = declared
        self._votes = [0] * (_LONGEST_DELAY + 1)
        self._calm = 0

    def check(self, plan: "FramePlan", sequence: int, reported_lines: int) -> None:
        """Compare a frame's length with the plan; correct the delay if surprises agree."""
        if plan.length_of(sequence, self.frames) == reported_lines:
            self._calm += 1
            if self._calm == _CALM_FRAMES:
                self._votes = [0] * len(self._votes)
            return
        self._calm = 0
        for frames in range(len(self._votes)):
            self._votes[frames] += plan.length_of(sequence, frames) == reported_lines
        most = max(self._votes)
        if most >= _VOTES_TO_CORRECT and self._votes.count(most) == 1:
            self.frames = self._votes.index(most)
            self._votes = [0] * len(self._votes)


class FramePlan:
    """Lengths, in lines, of the last seen frame and of all that are settled after it.

    ``lengths[i]`` is that of frame ``last + i``; the commands that no frame has filled yet are
    the last ones. It is empty until a frame was seen.
    """

    def __init__(self, vblank_delay: int, nominal_lines: int) -> None:
        self.lengths: list[int] = []
        self.delay = ControlDelay(vblank_delay)
        self._before = nominal_lines  # length of the frames before any remembered fill
        self._fills: deque[tuple[int, int]] = deque(maxlen=_REMEMBERED_FILLS)
        self._pending: deque[tuple[int, int]] = deque()
        self._last_sequence: int | None = None
        self._next_cookie = 0
        self._uncounted = 0

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
        sequence += self._uncounted
        elapsed = self._elapsed(sequence)
        if elapsed is None:
            self._fills.clear()
            self._before = reported_lines or self._before
        elif reported_lines:
            self.delay.check(self, sequence, reported_lines)
        self._last_sequence = sequence
        self._fill(sequence, cookie)
        self._settle(sequence, reported_lines)
        return elapsed

    def skip(self, frames: int) -> int:
        """Note frames lost before the last one without a gap in its sequence; give their lines."""
        last = self._last_sequence
        if last is None:
            return 0
        lost = sum(self.length_of(last + frame, self.delay.frames) for frame in range(frames))
        moved = [(at + frames if at == last else at, lines) for at, lines in self._fills]
        self._fills = deque(moved, maxlen=_REMEMBERED_FILLS)
        self._uncounted += frames
        self._last_sequence = last + frames
        self._settle(self._last_sequence, self.lengths[0])
        return lost

    def length_of(self, sequence: int, delay: int) -> int:
        """Return the length of a frame if the control delay is so many frames."""
        filled_by = sequence - 1 - delay
        for fill_sequence, lines in reversed(self._fills):
            if fill_sequence <= filled_by:
                return lines
        return self._before

    def _elapsed(self, sequence: int) -> int | None:
        if self._last_sequence is None or not self.lengths:
            return None
        gap = sequence - self._last_sequence
        if not 0 < gap <= _LONGEST_GAP:
            return None
        lost = range(self._last_sequence + 1, sequence)
        return self.lengths[0] + sum(self.length_of(frame, self.delay.frames) for frame in lost)

    def _fill(self, sequence: int, cookie: int) -> None:
        """Move the commands up to a cookie from the pending to the filled ones."""
        while self._pending and self._pending[0][0] <= cookie:
            _, lines = self._pending.popleft()
            if len(self._fills) == _REMEMBERED_FILLS:
                self._before = self._fills[0][1]
            self._fills.append((sequence, lines))

    def _settle(self, sequence: int, reported_lines: int) -> None:
        delay = self.delay.frames
        coming = range(sequence + 1, sequence + delay + 2)
        now = reported_lines or self.length_of(sequence, delay)
        self.lengths = [now, *(self.length_of(frame, delay) for frame in coming)]
        self.lengths += [lines for _, lines in self._pending]
