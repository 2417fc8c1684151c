"""Whether the files of a sealed session are those that the manifest sealed."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from capture_protocol.session import FRAMES_NAME, PLAN_NAME
from control_server.audit.session import AuditedSession

Progress = Callable[[str], None]
"""Called with the name of every file that was looked at."""


@dataclass(frozen=True, slots=True)
class FileProblem:
    """One file that is not as it was sealed."""

    path: str
    problem: str


@dataclass(frozen=True, slots=True)
class _Sealed:
    path: str
    sha256: str
    size: int | None = None
    small: bool = False
    """Hashed in every audit, not only a deep one."""


def examine_files(
    session: AuditedSession, *, deep: bool, progress: Progress | None = None
) -> list[FileProblem]:
    """Files of the manifest that are missing or changed, and video files it does not know.

    Sizes, and the hashes of plan and table, are always compared; all hashes in a deep audit.
    """
    problems = []
    for sealed in _sealed_files(session):
        problem = _compare(session.folder.path / sealed.path, sealed, deep=deep)
        if problem:
            problems.append(FileProblem(sealed.path, problem))
        if progress is not None:
            progress(sealed.path)
    return problems + list(_unknown_files(session))


def _sealed_files(session: AuditedSession) -> Iterator[_Sealed]:
    manifest = session.manifest
    if manifest is None:
        return
    yield _Sealed(PLAN_NAME, manifest.plan_sha256, small=True)
    if manifest.frames_sha256:
        yield _Sealed(FRAMES_NAME, manifest.frames_sha256, small=True)
    for segment in manifest.segments:
        yield _Sealed(segment.path, segment.sha256, segment.size)
    for log in manifest.logs:
        yield _Sealed(log.path, log.sha256)


def _compare(path: Path, sealed: _Sealed, *, deep: bool) -> str:
    if not path.is_file():
        return "is missing"
    size = path.stat().st_size
    if sealed.size not in (None, size):
        return f"has {size} bytes instead of {sealed.size}"
    if (deep or sealed.small) and file_sha256(path) != sealed.sha256:
        return "was changed after the session was sealed"
    return ""


def _unknown_files(session: AuditedSession) -> Iterator[FileProblem]:
    if session.manifest is None:
        return
    known = {segment.path for segment in session.manifest.segments}
    for camera in session.plan.cameras:
        for path in session.folder.segments(camera.name):
            name = str(path.relative_to(session.folder.path))
            if name not in known:
                yield FileProblem(name, "is not in the manifest")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
