"""Takes in a session's segment files as they are closed, and keeps each camera's account."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from capture_protocol import InputError, SegmentName, SessionPlan
from control_server.session.accounting import CameraAccount
from control_server.session.completion import CompletionWatch, closed_segments, read_closed
from control_server.session.notes import NotesFolder, part_camera, read_part
from control_server.session.stream_lock import stream_lives
from control_server.task_set import TaskSet

RETRY_S = 2.0
"""Pause before a file that the disk would not give is read again."""
_log = logging.getLogger(__name__)


class SegmentIntake:
    """Accounts of all cameras of one session, fed by inotify.

    Only the event loop changes the accounts; files are read in a thread, one after the other.
    """

    def __init__(
        self, notes: NotesFolder, plan: SessionPlan, changed: Callable[[str], None]
    ) -> None:
        self.accounts = {camera.name: CameraAccount() for camera in plan.cameras}
        self.lives = dict.fromkeys(self.accounts, False)
        """Whether a connection of the camera lives."""
        self._notes = notes
        self._changed = changed
        self._watch = CompletionWatch(notes, self.accounts)
        self._queue: asyncio.Queue[Path] = asyncio.Queue()
        self._tasks = TaskSet()

    def open(self) -> None:
        """Take in what lies there already, and everything that comes."""
        for camera in self.accounts:
            self._look(camera)
        self._tasks.spawn(self._follow())
        self._tasks.spawn(self._read_queue())

    async def close(self) -> None:
        """Stop; FFmpegs go on writing."""
        await self._tasks.close()
        self._watch.close()

    async def catch_up(self) -> None:
        """Look at everything now, and return when every closed file is in the accounts."""
        for camera in self.accounts:
            self._look(camera)
        await self._queue.join()

    def copies(self) -> dict[str, CameraAccount]:
        """The accounts as they are now, for a thread to work on."""
        return {name: account.copy() for name, account in self.accounts.items()}

    def last_words(self, camera: str) -> str:
        """Last line that the camera's last FFmpeg said; empty while all is well."""
        part = max(self.accounts[camera].parts, default=0)
        try:
            text = self._notes.part_log_path(camera, part).read_text(errors="replace")
        except FileNotFoundError:
            return ""
        return text.strip().rpartition("\n")[2]

    async def _follow(self) -> None:
        async for path in self._watch.files():
            if path is None:
                _log.warning("file events were lost: looking at all files of the session")
                for camera in self.accounts:
                    self._look(camera)
            elif SegmentName.parse(path.name):
                self._queue.put_nowait(path)
            elif (owner := part_camera(path.name)) is not None and owner in self.accounts:
                self._take_parts(owner, [path])
            elif path.stem in self.accounts:  # its connection has ended
                self._look_at_segments(path.stem)

    def _look(self, camera: str) -> None:
        """Note a camera's parts, its connection, and closed files that were not read yet."""
        self._take_parts(camera, self._notes.part_paths(camera))
        self._look_at_segments(camera)

    def _take_parts(self, camera: str, paths: Iterable[Path]) -> None:
        for path in paths:
            try:
                self.accounts[camera].add_part(read_part(path))
            except InputError as error:
                _log.error("camera %s: %s", camera, error)
        self.lives[camera] = stream_lives(self._notes.lock_path(camera))
        self._changed(camera)

    def _look_at_segments(self, camera: str) -> None:
        self.lives[camera] = stream_lives(self._notes.lock_path(camera))
        for path in closed_segments(self._notes, camera):
            if SegmentName.parse(path.name) not in self.accounts[camera].segments:
                self._queue.put_nowait(path)
        self._changed(camera)

    async def _read_queue(self) -> None:
        while True:
            path = await self._queue.get()
            name = SegmentName.parse(path.name)
            if name is not None and name.camera in self.accounts:
                await self._read(path, name)
            self._queue.task_done()

    async def _read(self, path: Path, name: SegmentName) -> None:
        try:
            fact = await asyncio.to_thread(read_closed, path, name)
        except FileNotFoundError:
            _log.error("segment %s was removed while its session is open", path.name)
        except OSError as error:
            _log.error("segment %s cannot be read: %s", path.name, error)
            await asyncio.sleep(RETRY_S)
            self._queue.put_nowait(path)
        else:
            self.accounts[name.camera].add_segment(fact)
            self._changed(name.camera)
