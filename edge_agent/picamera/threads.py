"""The threads of libcamera and picamera2, which run beside the release in the capture process.

libcamera's threads write the genlock's commands to the sensor and must not wait for an encoder;
picamera2's thread may hold the interpreter lock that the release wants. They get real-time
scheduling just below the release's, where that is allowed, and the lock is asked for after 0.1 ms
instead of 5 ms.
"""

import contextlib
import os
import sys
import threading
from pathlib import Path

_SWITCH_INTERVAL_S = 1e-4
_OWN_THREADS = Path("/proc/self/task")


def serve_release() -> None:
    """Schedule all other threads of this process just below this one; ordinary stays ordinary."""
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    policy = os.sched_getscheduler(0)
    if policy != os.SCHED_FIFO:
        return
    lower = os.sched_param(max(1, os.sched_getparam(0).sched_priority - 1))
    own = threading.get_native_id()
    for task in _OWN_THREADS.iterdir():
        if int(task.name) != own:
            with contextlib.suppress(OSError):  # it has just ended
                os.sched_setscheduler(int(task.name), policy, lower)
