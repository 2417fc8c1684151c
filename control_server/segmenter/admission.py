"""Who may stream: the server's half of the handshake, without I/O, and the verdict on a camera.

Both segmenter hosts drive `shake_hands` (asyncio in the manager, blocking under systemd), so there
is one way in. The flow yields what to do next with the peer: bytes to send, or how many to read.
"""

import os
import secrets
import shutil
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from capture_protocol import InputError, SessionPlan
from capture_protocol.handshake import (
    BEGIN_SIZE,
    HELLO_SIZE,
    HandshakeError,
    Hello,
    Verdict,
    pack_challenge,
    pack_welcome,
    unpack_begin,
    unpack_hello,
)
from capture_protocol.session import STAGES
from control_server.refusals import RefusalCounts
from control_server.rig.place import RigPlace
from control_server.session.counter import session_folder
from control_server.session.notes import NotesFolder, SessionNotes
from control_server.session.stream_lock import acquire_stream

NONCE_SIZE = 16
MIB = 1 << 20

Flow = Generator[bytes | int, bytes, "Admission"]


class RefusedError(HandshakeError):
    """The peer was told that it may not stream."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(f"stream connection refused: {verdict.name.lower()}")
        self.verdict = verdict


@dataclass(frozen=True, slots=True)
class Admission:
    """A peer that may stream: FFmpeg inherits `lock`."""

    plan: SessionPlan
    camera: str
    notes: NotesFolder
    resume_slot: int
    first_slot: int
    lock: int


@dataclass(frozen=True, slots=True)
class Desk:
    """What decides about connections to one port."""

    place: RigPlace
    camera: int
    """The camera whose port was knocked at, by its index in the rig."""
    refusals: RefusalCounts


def shake_hands(desk: Desk) -> Flow:
    """The server's side of one handshake.

    Yields:
        bytes to send to the peer, or the number of bytes to read from it and send into the flow.

    Returns:
        what was admitted; the caller owns the lock.

    Raises:
        RefusedError: the peer was refused, and told so.
        InputError: a file of the session is damaged.
    """
    opened = _open_session(desk, (yield from _authenticate(desk)))
    if isinstance(opened, Verdict):
        yield from _refuse(desk, opened)
        raise RefusedError(opened)
    return (yield from _begin(*opened))


def _authenticate(desk: Desk) -> Generator[bytes | int, bytes, Hello]:
    nonce = secrets.token_bytes(NONCE_SIZE)
    yield pack_challenge(nonce)
    try:
        return unpack_hello((yield HELLO_SIZE), nonce, desk.place.rig_key)
    except GeneratorExit:  # the driver gave up on a peer that never said HELLO
        desk.refusals.add("broke_off")
        raise
    except InputError:
        yield from _refuse(desk, Verdict.FORGED)
        raise RefusedError(Verdict.FORGED) from None


def _refuse(desk: Desk, verdict: Verdict) -> Generator[bytes | int, bytes, None]:
    desk.refusals.add(verdict.name.lower())
    yield pack_welcome(verdict)


def _open_session(
    desk: Desk, hello: Hello
) -> Verdict | tuple[SessionPlan, str, NotesFolder, SessionNotes, int]:
    """The session and the camera's lock, or why not."""
    folder = session_folder(desk.place.storage, hello.session)
    if hello.rig_id != desk.place.config.rig_id or not folder.plan_path.exists():
        return Verdict.NO_SUCH_SESSION
    plan, notes_folder = folder.read_plan(), NotesFolder(folder)
    names = [camera.name for camera in plan.cameras if camera.index == hello.camera]
    if not names or hello.camera != desk.camera:
        return Verdict.NO_SUCH_CAMERA
    if not has_room(desk.place.storage, desk.place.config.server.reserve_mb):
        return Verdict.STORAGE
    lock = acquire_stream(notes_folder.lock_path(names[0]))
    if lock is None:
        return Verdict.BUSY
    notes = notes_folder.read()  # under the lock: who seals saves the notes, then tries the lock
    if is_delivered(notes, names[0]):
        os.close(lock)
        return Verdict.COMPLETE
    return plan, names[0], notes_folder, notes, lock


def _begin(
    plan: SessionPlan, camera: str, folder: NotesFolder, notes: SessionNotes, lock: int
) -> Flow:
    resume_slot = notes.durable.get(camera, 0)
    try:
        yield pack_welcome(Verdict.ACCEPTED, resume_slot)
        first_slot = unpack_begin((yield BEGIN_SIZE))
    except BaseException:  # also when the flow is closed because the peer went away
        os.close(lock)
        raise
    return Admission(plan, camera, folder, resume_slot, first_slot, lock)


def is_delivered(notes: SessionNotes, camera: str) -> bool:
    """Whether everything that a camera can ever send of a session is durable.

    An agent that ended early has drained what it had, but may come back and record on; it has
    nothing more only once its event logs are final.
    """
    durable = notes.durable.get(camera, 0)
    if notes.last_slot is not None and durable > notes.last_slot:
        return True
    drained = notes.drained.get(camera)
    final = all((camera, stage) in notes.final_logs for stage in STAGES)
    return drained is not None and final and durable > drained.last_slot


def has_room(storage: Path, reserve_mb: int) -> bool:
    """Whether the storage has more free space than the reserve."""
    return free_bytes(storage) > reserve_mb * MIB


def free_bytes(storage: Path) -> int:
    """Free bytes where sessions are stored (or will be)."""
    while not storage.exists():
        storage = storage.parent
    return shutil.disk_usage(storage).free
