"""One connection per camera: a file lock that FFmpeg inherits and the kernel frees.

The lock lives as long as any process holds the open file: first the one that shakes hands, then
FFmpeg. So it is right after every kind of death, and a new manager sees the connections that an
old one accepted. Its release is also an inotify event (close after write) on the file.
"""

import fcntl
import os
from pathlib import Path


def acquire_stream(path: Path) -> int | None:
    """The lock as a file descriptor to pass on to FFmpeg, or None if a connection lives."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def stream_lives(path: Path) -> bool:
    """Whether a connection holds this lock.

    The probe asks for a shared lock and gives it back at once; an agent that knocks in this very
    moment is told to come again.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False
