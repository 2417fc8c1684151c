"""The session that the capture process is recording."""

from capture_protocol.datagram import Start, StartFlag
from capture_protocol.frame import MAX_UNCERTAINTY_NS, FrameFlag
from edge_agent.capture.clock_map import ClockMap
from edge_agent.clock import Discipline


class Recording:
    """One session's constants, as the hot path wants them, and its window of slots."""

    def __init__(self, start: Start, last_slot: int | None, clock: ClockMap) -> None:
        self.session = start.session
        self.grid = start.grid
        """On the rig's UTC."""
        self.rate_num = start.rate.numerator
        self.rate_den = start.rate.denominator
        self.clock = clock
        self.last_slot = last_slot
        self.capturing = False
        self.flags = 0
        self.clock_offset_ns = 0
        self.clock_uncertainty_ns = 0
        self._forced = FrameFlag.FORCED if start.flags & StartFlag.FORCED else FrameFlag.NONE

    def wants(self, slot: int) -> bool:
        """Whether a release of this slot belongs to the session."""
        return slot >= 0 and (self.last_slot is None or slot <= self.last_slot)

    def judge_clock(self, discipline: Discipline) -> None:
        """Take over what is known of CLOCK_REALTIME into the flags of the coming frames."""
        flags = self._forced
        if self.clock.stepped:
            flags |= FrameFlag.CLOCK_STEPPED
        if not discipline.synchronised:
            flags |= FrameFlag.UNSYNCHRONISED
        if discipline.holdover:
            flags |= FrameFlag.CLOCK_HOLDOVER
        self.flags = int(flags)
        self.clock_offset_ns = discipline.offset_ns
        self.clock_uncertainty_ns = min(
            discipline.uncertainty_ns + abs(self.clock.stepped_by_ns), MAX_UNCERTAINTY_NS
        )
