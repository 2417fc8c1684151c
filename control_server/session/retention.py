"""Which sessions are old enough to go, and their removal."""

import shutil
from pathlib import Path

from capture_protocol import InputError, SessionFolder
from control_server.session.counter import session_folder, session_numbers

REMOVED_PREFIX = ".removed-"
DAY_NS = 86_400_000_000_000


def expired_sessions(storage: Path, now_ns: int, days: float) -> list[SessionFolder]:
    """Complete sessions that were sealed more than ``days`` before ``now_ns`` (UTC), oldest first.

    What is open, incomplete or damaged stays: a node may still hold frames of it, or a person has
    to look at it.
    """
    folders = [session_folder(storage, number) for number in session_numbers(storage)]
    return [folder for folder in folders if _is_expired(folder, now_ns - int(days * DAY_NS))]


def _is_expired(folder: SessionFolder, before_ns: int) -> bool:
    try:
        manifest = folder.read_manifest()
    except InputError:
        return False
    return manifest is not None and manifest.complete and manifest.sealed_ns < before_ns


def remove_session(folder: SessionFolder) -> None:
    """Remove a session: first its name, so that nobody ever sees half of one."""
    hidden = folder.path.with_name(f"{REMOVED_PREFIX}{folder.path.name}")
    folder.path.rename(hidden)
    shutil.rmtree(hidden)


def finish_removals(storage: Path) -> None:
    """Remove what a removal that was interrupted has left."""
    for hidden in storage.glob(f"{REMOVED_PREFIX}*"):
        shutil.rmtree(hidden)
