"""What an agent knows of its CLOCK_REALTIME: who disciplines it, and how well.

The agent process watches (`edge_agent.clock.watch`, which may ask programs) and tells the capture
process, which only ever takes the last `Discipline` into its frame records.
"""

from edge_agent.clock.discipline import UNKNOWN_DISCIPLINE, Discipline
from edge_agent.clock.kernel import KernelClock, ntp_discipline, read_kernel_clock

__all__ = [
    "UNKNOWN_DISCIPLINE",
    "Discipline",
    "KernelClock",
    "ntp_discipline",
    "read_kernel_clock",
]
