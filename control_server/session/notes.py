"""What the server notes for itself while it records: the folder ``server/`` of a session.

The plan never changes; what happens afterwards (STOP, what is durable, who has drained) is in
``server/notes.json``, published atomically, so that a manager that was killed goes on where it was
and a segmenter run by systemd can answer an agent without the manager.
"""

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from capture_protocol import InputError, SessionFolder, publish_text
from capture_protocol.session import Stage

NOTES_FOLDER = "server"
_PART = re.compile(r"([a-z0-9][a-z0-9_-]*)_p(\d{3,})\.json")


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DrainedNote(_Document):
    """An agent said that a camera has nothing left to send."""

    frames: int
    last_slot: int
    """-1 if its spool holds nothing."""


class SessionNotes(_Document):
    """`notes.json`."""

    stop_datagram: str = ""
    """The STOP as it was sent, in hex; empty while none was given."""
    last_slot: int | None = None
    """What STOP named."""
    durable: dict[str, int] = {}
    """Per camera: the first slot that is not durable."""
    drained: dict[str, DrainedNote] = {}
    final_logs: list[tuple[str, Stage]] = []
    """Event logs that will get no more records."""
    settled: list[str] = []
    """Cameras whose account was closed when the session was sealed."""


class PartNote(_Document):
    """One accepted stream connection, written before its first byte of video."""

    part: int
    resume_slot: int
    """First slot that was not durable when the connection was accepted."""
    first_slot: int
    """First slot of the stream: what lies between is in no spool."""
    opened_ns: int
    peer: str
    process: int | None = None
    """FFmpeg's process id, noted once it runs."""


@dataclass(frozen=True, slots=True)
class NotesFolder:
    """The folder ``server/`` of one session."""

    session: SessionFolder

    @property
    def path(self) -> Path:
        """The folder."""
        return self.session.path / NOTES_FOLDER

    @property
    def notes_path(self) -> Path:
        """`notes.json`."""
        return self.path / "notes.json"

    def lock_path(self, camera: str) -> Path:
        """Locked as long as a connection of this camera lives."""
        return self.path / f"{camera}.stream"

    def part_path(self, camera: str, part: int) -> Path:
        """Note of one part."""
        return self.path / f"{camera}_p{part:03}.json"

    def part_log_path(self, camera: str, part: int) -> Path:
        """What FFmpeg said while it wrote a part."""
        return self.path / f"{camera}_p{part:03}.log"

    def part_paths(self, camera: str) -> list[Path]:
        """The notes of all parts of a camera."""
        names = self.path.iterdir() if self.path.is_dir() else ()
        return [path for path in names if part_camera(path.name) == camera]

    def parts(self, camera: str) -> list[PartNote]:
        """All parts of a camera, in order.

        Raises:
            InputError: a note is damaged.
        """
        return sorted(map(read_part, self.part_paths(camera)), key=lambda note: note.part)

    def write_part(self, camera: str, note: PartNote) -> None:
        """Publish a part's note."""
        publish_text(self.part_path(camera, note.part), note.model_dump_json() + "\n")

    def read(self) -> SessionNotes:
        """The session's notes; fresh ones where none were written yet.

        Raises:
            InputError: the notes are damaged.
        """
        try:
            return SessionNotes.model_validate_json(self.notes_path.read_bytes())
        except FileNotFoundError:
            return SessionNotes()
        except ValidationError as error:
            raise InputError(f"{self.notes_path} is damaged: {error}") from error

    def write(self, notes: SessionNotes) -> None:
        """Publish the session's notes."""
        publish_text(self.notes_path, notes.model_dump_json() + "\n")


def part_camera(name: str) -> str | None:
    """The camera of a part note's file name, None for other files."""
    match = _PART.fullmatch(name)
    return match.group(1) if match else None


def read_part(path: Path) -> PartNote:
    """One part's note.

    Raises:
        InputError: it is damaged or gone.
    """
    try:
        return PartNote.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise InputError(f"{path} is damaged: {error}") from error


class NotesKeeper:
    """The notes of an open session in memory, saved in a thread soon after they change."""

    def __init__(self, folder: NotesFolder) -> None:
        self.folder = folder
        self.current = folder.read()
        self._saved = self.current
        self._lock = asyncio.Lock()

    def update(self, **changes: object) -> None:
        """Change fields; `save` makes it last."""
        self.current = self.current.model_copy(update=changes)

    async def save(self) -> None:
        """Publish the notes if they changed; returns when they are on disk.

        Raises:
            OSError: the disk fails or is full.
        """
        async with self._lock:
            notes = self.current
            if notes != self._saved:
                await asyncio.to_thread(self.folder.write, notes)
                self._saved = notes
