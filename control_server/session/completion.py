"""Completion by inotify: which segment files of a session are closed, and what they hold."""

import hashlib
import os
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

from asyncinotify import Inotify, Mask

from capture_protocol import FrameFlag, SegmentName, SessionFolder
from control_server.session.accounting import SegmentFact
from control_server.session.notes import NotesFolder
from control_server.session.segment_scan import scan_segment
from control_server.session.stream_lock import stream_lives

LATE = int(FrameFlag.LATE | FrameFlag.REPEATED)


class CompletionWatch:
    """Names of files that were closed after writing, or published, in a session's folders.

    The watch is in force when the object is made, so nothing is missed between looking at what
    lies there and the first event.
    """

    def __init__(self, notes: NotesFolder, cameras: Iterable[str]) -> None:
        self._inotify = Inotify()
        for folder in (notes.path, *map(notes.session.video, cameras)):
            self._inotify.add_watch(folder, Mask.CLOSE_WRITE | Mask.MOVED_TO)

    def close(self) -> None:
        """End the watch."""
        self._inotify.close()

    async def files(self) -> AsyncIterator[Path | None]:
        """Each file as it is closed; None if events were lost and everything must be looked at."""
        async for event in self._inotify:
            if event.mask & Mask.Q_OVERFLOW:
                yield None
            elif event.path is not None:
                yield event.path


def closed_segments(notes: NotesFolder, camera: str) -> list[Path]:
    """A camera's segments that nobody writes any more.

    While a connection lives, the last file of the last part is the one being written.
    """
    lives = stream_lives(notes.lock_path(camera))
    segments = notes.session.segments(camera)
    return segments[:-1] if lives else segments


def read_closed(path: Path, name: SegmentName) -> SegmentFact:
    """Make a closed segment durable, hash it and read its evidence.

    Raises:
        OSError: the disk fails.
    """
    with path.open("rb") as file:
        os.fsync(file.fileno())
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = os.fstat(file.fileno()).st_size
    scan = scan_segment(path)
    late = int(((scan.records["flags"] & LATE) != 0).sum())
    return SegmentFact(name, path, scan.slots, late, size, digest, scan.damaged)


def has_video(folder: SessionFolder, camera: str) -> bool:
    """Whether a segment of this camera exists and holds data."""
    return any(path.stat().st_size > 0 for path in folder.segments(camera))
