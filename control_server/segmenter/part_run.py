"""One part: from an admitted connection to the FFmpeg run that writes it."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from control_server.segmenter.admission import Admission
from control_server.segmenter.ffmpeg_command import check_numbering, segmenter_arguments
from control_server.session.notes import NotesFolder, PartNote

KEEPALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 2),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)
"""A peer that vanished without a word is noticed after 5 s, so that its camera can come back."""


@dataclass(frozen=True, slots=True)
class PartRun:
    """What has to be started, where, and with what."""

    arguments: list[str]
    folder: Path
    """Working directory: the camera's video folder."""
    log: Path
    lock: int
    notes: NotesFolder
    camera: str
    note: PartNote

    def note_process(self, process: int) -> None:
        """Note who writes the part, so that it can be asked to end."""
        self.notes.write_part(self.camera, self.note.model_copy(update={"process": process}))


def prepare_socket(connection: socket.socket) -> None:
    """Set what a stream connection needs before the handshake."""
    for level, option, value in KEEPALIVE:
        connection.setsockopt(level, option, value)


@contextmanager
def open_part(ffmpeg: str, admission: Admission, peer: str) -> Iterator[PartRun]:
    """Claim the next part of a camera and note it; our copy of the lock is closed at the end.

    The part's number is ours because the camera's lock is.

    Raises:
        InputError: the stream begins at an absurd slot.
    """
    try:
        yield _claim(ffmpeg, admission, peer)
    finally:
        os.close(admission.lock)


def _claim(ffmpeg: str, admission: Admission, peer: str) -> PartRun:
    plan, camera, notes = admission.plan, admission.camera, admission.notes
    check_numbering(plan, admission.first_slot)
    part = max((note.part for note in notes.parts(camera)), default=0) + 1
    note = PartNote(
        part=part,
        resume_slot=admission.resume_slot,
        first_slot=admission.first_slot,
        opened_ns=time.time_ns(),
        peer=peer,
    )
    notes.write_part(camera, note)
    return PartRun(
        arguments=segmenter_arguments(ffmpeg, plan, camera, part, admission.first_slot),
        folder=notes.session.video(camera),
        log=notes.part_log_path(camera, part),
        lock=admission.lock,
        notes=notes,
        camera=camera,
        note=note,
    )


def end_part(notes: NotesFolder, camera: str) -> bool:
    """Ask the FFmpeg of a camera's last part to close its file and end.

    Returns whether it was asked; a process id that belongs to something else by now is not.
    """
    last = max(notes.parts(camera), key=lambda note: note.part, default=None)
    if last is None or last.process is None:
        return False
    try:
        if not Path(f"/proc/{last.process}/cwd").samefile(notes.session.video(camera)):
            return False
        os.kill(last.process, signal.SIGTERM)
    except OSError:  # it has ended already
        return False
    return True
