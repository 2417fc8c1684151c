"""Python threads beside the release: whoever holds the interpreter lock delays it.

picamera2 runs a thread of its own in the capture process. Two settings keep the release from
waiting for it: the lock is asked for after 0.1 ms instead of 5 ms, and the thread gets the
release's priority, so that it is not put aside while it holds the lock.
"""

import contextlib
import os
import sys
import threading

_SWITCH_INTERVAL_S = 1e-4


def keep_lock_short() -> None:
    """Give all Python threads this thread's scheduling, where that is allowed."""
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    policy, priority = os.sched_getscheduler(0), os.sched_getparam(0)
    for thread in threading.enumerate():
        if thread.native_id is not None:
            with contextlib.suppress(OSError):
                os.sched_setscheduler(thread.native_id, policy, priority)
