"""Session numbers: from a counter in a dotfile, atomic under concurrent starts, never reused."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from capture_protocol import SessionFolder, publish_text

COUNTER_NAME = ".session-counter"


def session_folder(storage: Path, session: int) -> SessionFolder:
    """The folder of a session."""
    return SessionFolder(storage / f"{session:06}")


def take_number(storage: Path) -> int:
    """The next session number; its folder is made before the number is given out.

    A counter that was lost or damaged cannot make a number come twice: existing folders count too.
    """
    storage.mkdir(parents=True, exist_ok=True)
    with _locked(storage / f"{COUNTER_NAME}.lock"):
        number = max(_last_given(storage / COUNTER_NAME), *session_numbers(storage), 0) + 1
        publish_text(storage / COUNTER_NAME, f"{number}\n")
        session_folder(storage, number).path.mkdir()
    return number


def session_numbers(storage: Path) -> list[int]:
    """Numbers of all session folders, ascending."""
    names = (entry.name for entry in storage.iterdir()) if storage.is_dir() else ()
    return sorted(int(name) for name in names if name.isascii() and name.isdigit())


def _last_given(path: Path) -> int:
    try:
        return int(path.read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        return 0


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an advisory lock; the kernel frees it should we die."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
