"""Rights of the capture process: every one that is missing is recorded, none is fatal."""

import ctypes
import gc
import os
from dataclasses import dataclass

from capture_protocol.rig import RealtimeSection

_MCL_CURRENT_ON_FAULT = 1 | 4  # mlockall(2): what is mapped now, once it has been touched


@dataclass(frozen=True, slots=True)
class RealtimeRights:
    """What was granted."""

    spin: bool
    fifo: int
    """SCHED_FIFO priority, 0 if it was refused or not asked for."""
    locked: bool
    """Memory is locked: no page fault at a release."""
    cpu: int
    """CPU that the process is pinned to, -1 if none."""

    def __str__(self) -> str:
        parts = ["spin" if self.spin else "sleep"]
        if self.fifo:
            parts.append(f"fifo{self.fifo}")
        if self.locked:
            parts.append("mlock")
        if self.cpu >= 0:
            parts.append(f"cpu{self.cpu}")
        return "+".join(parts)


def take_rights(wanted: RealtimeSection) -> RealtimeRights:
    """Ask for what the config wants, freeze the garbage collector, and say what was granted."""
    gc.collect()
    gc.freeze()
    gc.disable()
    return RealtimeRights(
        spin=wanted.spin_us > 0,
        fifo=wanted.priority if wanted.priority and _set_fifo(wanted.priority) else 0,
        locked=_lock_memory(),
        cpu=wanted.cpu if wanted.cpu >= 0 and _pin(wanted.cpu) else -1,
    )


def _set_fifo(priority: int) -> bool:
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except OSError:
        return False
    return True


def _lock_memory() -> bool:
    return int(ctypes.CDLL(None, use_errno=True).mlockall(_MCL_CURRENT_ON_FAULT)) == 0


def _pin(cpu: int) -> bool:
    try:
        os.sched_setaffinity(0, {cpu})
    except OSError:
        return False
    return True
