"""Waiting until something disciplines CLOCK_REALTIME: PTP on followers, NTP on the reference."""

import time
from collections.abc import Callable

from edge_agent.clock.kernel import KernelClock, read_kernel_clock

_POLL_S = 0.2


def wait_for_discipline(
    timeout_s: float, read: Callable[[], KernelClock] = read_kernel_clock
) -> bool:
    """Return whether the kernel called its clock synchronised before the time was over.

    ptp4l, phc2sys and NTP clients tell the kernel as soon as they follow their reference. Raises
    EnvironmentLackError if adjtimex(2) is forbidden.
    """
    deadline_s = time.monotonic() + timeout_s
    while not read().synchronised:
        if time.monotonic() >= deadline_s:
            return False
        time.sleep(_POLL_S)
    return True
