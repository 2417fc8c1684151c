"""Spools of sessions that nobody waits for any more: kept until their space is needed."""

import contextlib
import shutil
from collections.abc import Container
from pathlib import Path

from edge_agent.spool.survey import session_folder, spooled_sessions


class Leftovers:
    """One camera's spools on disk that no stream uses.

    A session that was sealed as incomplete may have frames here that the server never got.
    They are the last copy, so they go only when the spool is full, oldest first.
    """

    def __init__(self, root: Path, camera: str) -> None:
        self._root = root
        self._camera = camera

    def total_bytes(self, in_use: Container[int]) -> int:
        """Bytes on disk, without the sessions in use."""
        folders = (self._folder(session) for session in self._sessions(in_use))
        return sum(path.stat().st_size for folder in folders for path in folder.glob("*.units"))

    def drop_oldest(self, in_use: Container[int]) -> int | None:
        """Delete the oldest one; its session, or None if there is none left."""
        oldest = next(iter(self._sessions(in_use)), None)
        if oldest is not None:
            self.drop(oldest)
        return oldest

    def drop(self, session: int) -> None:
        """Delete the spool of a session."""
        folder = self._folder(session)
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # other cameras' spools are in it still
            folder.parent.rmdir()

    def _sessions(self, in_use: Container[int]) -> list[int]:
        return [
            session
            for session in spooled_sessions(self._root)
            if session not in in_use and self._folder(session).is_dir()
        ]

    def _folder(self, session: int) -> Path:
        return session_folder(self._root, session, self._camera)
