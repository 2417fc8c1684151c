"""A sealed session from H.264 to H.265, verified before anything is replaced.

The H.265 session grows in the folder ``h265/`` of the session as a session folder of its own (plan,
video, event logs, table, manifest; `manager audit` can be run on it). Its manifest is written last,
so an interrupted run is taken up where it was. Replacing then only renames, the original being
removed last; a replacement that was interrupted is completed by the next run.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import av

from capture_protocol import (
    Codec,
    EnvironmentLackError,
    InputError,
    Manifest,
    SessionFolder,
    publish_text,
)
from capture_protocol.publish import sync_folder
from capture_protocol.session import EVENTS_FOLDER, VIDEO_FOLDER, SegmentEntry
from control_server.audit.files import file_sha256
from control_server.session.frames_table import read_frames, write_frames
from control_server.session.segment_scan import scan_segment
from control_server.transcode.encoder import EncoderChoice
from control_server.transcode.segment import TranscodeError, transcode_segment, verify_segment

STAGING_FOLDER = "h265"
ORIGINAL_FOLDER = "h264"
_CHOICE_NAME = "encoder.json"
Progress = Callable[[int], None]
"""Called with the number of pictures that were done since the last call."""


@dataclass(frozen=True, slots=True)
class Transcoded:
    """What a transcoding did."""

    folder: Path
    """Where the H.265 session lies."""
    encoder: str
    segments: int
    frames: int
    bytes_before: int
    bytes_after: int
    lowest_psnr_db: float | None
    """Of the segments transcoded in this run; None if there were none."""


def transcode_session(
    folder: SessionFolder, choice: EncoderChoice, progress: Progress
) -> Transcoded:
    """Make and verify the H.265 of a sealed session beside its H.264.

    Raises:
        InputError: the session is not sealed, already H.265, or its files are not as sealed.
        TranscodeError: the result is not faithful; nothing was replaced.
        EnvironmentLackError: the disk does not take the files.
    """
    manifest = folder.read_manifest()
    if manifest is None:
        raise InputError(
            f"session {folder.path.name} is not sealed yet", hint="stop it with: manager stop"
        )
    staged = SessionFolder(folder.path / STAGING_FOLDER)
    with _disk_errors():
        _prepare(folder, staged, choice)
        lowest = [
            _transcode_one(folder, staged, entry, choice, progress) for entry in manifest.segments
        ]
        _seal(folder, staged, manifest)
    done = [psnr for psnr in lowest if psnr is not None]
    return Transcoded(
        staged.path,
        choice.name,
        len(manifest.segments),
        sum(entry.frames for entry in manifest.segments),
        sum(entry.size for entry in manifest.segments),
        sum((staged.path / entry.path).stat().st_size for entry in manifest.segments),
        min(done, default=None),
    )


def is_h265(folder: SessionFolder) -> bool:
    """Whether the session's video is H.265 already."""
    manifest = folder.read_manifest()
    entries = [entry for entry in manifest.segments if entry.frames] if manifest else []
    return bool(entries) and scan_segment(folder.path / entries[0].path).codec is Codec.H265


def replace_original(folder: SessionFolder) -> None:
    """Put the verified H.265 in the place of the H.264, which is removed last.

    Every step is one rename and is passed over when it was done before, so calling this again
    completes a replacement that was interrupted.

    Raises:
        EnvironmentLackError: the disk refuses; the original is still whole.
    """
    staged = SessionFolder(folder.path / STAGING_FOLDER)
    original = folder.path / ORIGINAL_FOLDER
    with _disk_errors():
        original.mkdir(exist_ok=True)
        for name in (VIDEO_FOLDER, folder.frames_path.name, folder.manifest_path.name):
            _swap(staged.path / name, folder.path / name, original / name)
        shutil.rmtree(staged.path, ignore_errors=True)
        shutil.rmtree(original)


def replacement_pending(folder: SessionFolder) -> bool:
    """Whether a replacement was begun and not completed."""
    return (folder.path / ORIGINAL_FOLDER).is_dir()


def _swap(new: Path, place: Path, old: Path) -> None:
    """Move ``place`` to ``old`` and ``new`` to ``place``."""
    if not new.exists():
        return
    if place.exists() and not old.exists():
        place.rename(old)
    new.rename(place)
    sync_folder(place.parent)


def _prepare(folder: SessionFolder, staged: SessionFolder, choice: EncoderChoice) -> None:
    """The staged folder with plan and event logs; begun anew if another encoder was at work."""
    wanted = json.dumps(asdict(choice))
    known = staged.path / _CHOICE_NAME
    if staged.path.exists() and (not known.exists() or known.read_text() != wanted):
        shutil.rmtree(staged.path)
    (staged.path / EVENTS_FOLDER).mkdir(parents=True, exist_ok=True)
    publish_text(known, wanted)
    shutil.copyfile(folder.plan_path, staged.plan_path)
    for log in (folder.path / EVENTS_FOLDER).glob("*.events"):
        shutil.copyfile(log, staged.path / EVENTS_FOLDER / log.name)


def _transcode_one(
    folder: SessionFolder,
    staged: SessionFolder,
    entry: SegmentEntry,
    choice: EncoderChoice,
    progress: Progress,
) -> float | None:
    """Transcode and verify one segment unless that was done; returns its lowest PSNR."""
    source, target = folder.path / entry.path, staged.path / entry.path
    if target.exists():
        progress(entry.frames)
        return None
    _require_sealed_bytes(source, entry)
    target.parent.mkdir(parents=True, exist_ok=True)
    if not entry.frames:  # a receiver was killed before its first frame
        shutil.copyfile(source, target)
        return None
    working = target.with_name(f".{target.name}")  # no segment's name, should we be interrupted
    rate = folder.read_plan().rate
    transcode_segment(source, working, choice, rate, lambda: progress(1))
    lowest = verify_segment(source, working)
    _sync_file(working)
    working.replace(target)
    sync_folder(target.parent)
    return lowest


def _require_sealed_bytes(source: Path, entry: SegmentEntry) -> None:
    if not source.is_file() or file_sha256(source) != entry.sha256:
        raise InputError(
            f"{entry.path} is not as it was sealed; only a sound session is transcoded",
            hint="see what is wrong with: manager audit --deep",
        )


def _seal(folder: SessionFolder, staged: SessionFolder, manifest: Manifest) -> None:
    """Table and manifest of the staged session, once its table equals the original's."""
    write_frames(staged)
    for camera in manifest.cameras:
        old, new = read_frames(folder, camera.name), read_frames(staged, camera.name)
        if new.records.tobytes() != old.records.tobytes():
            raise TranscodeError(f"{camera.name}: the transcoded video gives another frames table")
    segments = [
        entry.model_copy(
            update={
                "sha256": file_sha256(staged.path / entry.path),
                "size": (staged.path / entry.path).stat().st_size,
            }
        )
        for entry in manifest.segments
    ]
    digest = file_sha256(staged.frames_path)
    staged.write_manifest(
        manifest.model_copy(update={"segments": segments, "frames_sha256": digest})
    )


def _sync_file(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except (OSError, av.FFmpegError) as error:
        raise EnvironmentLackError(
            f"transcoding stopped, the original is whole: {error.strerror or error}",
            hint="free space or mend the disk, then run the same command again: it goes on",
        ) from error
