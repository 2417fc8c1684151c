"""Sealing: the account of a session that is over becomes its manifest, written last."""

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path

from capture_protocol import Manifest, SessionFolder, SessionPlan
from capture_protocol.events import EVENT_SIZE
from capture_protocol.publish import sync_folder
from capture_protocol.session import STAGES, VIDEO_FOLDER, CameraEntry, LogEntry
from control_server.session.accounting import CameraAccount, missing_ranges, segment_entries
from control_server.session.frames_table import write_frames


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a session ended."""

    last_slot: int
    complete: bool
    reason: str


def seal(
    folder: SessionFolder,
    plan: SessionPlan,
    accounts: dict[str, CameraAccount],
    outcome: Outcome,
) -> Manifest:
    """Write frames.parquet, then the manifest; runs in a worker thread.

    Args:
        folder: the session's folder; its segments were synced when they were closed.
        plan: the session's plan.
        accounts: of every camera of the plan, not changed any more.
        outcome: how the session ended.

    Raises:
        OSError: the disk fails or is full; the session stays unsealed.
    """
    for camera in plan.cameras:
        sync_folder(folder.video(camera.name))
    sync_folder(folder.path / VIDEO_FOLDER)
    write_frames(folder)
    manifest = Manifest(
        session=plan.session,
        complete=outcome.complete,
        reason=outcome.reason,
        sealed_ns=time.time_ns(),
        last_slot=outcome.last_slot,
        plan_sha256=_sha256(folder.plan_path),
        frames_sha256=_sha256(folder.frames_path),
        cameras=[_camera_entry(name, accounts[name], outcome.last_slot) for name in accounts],
        segments=[
            entry
            for account in accounts.values()
            for entry in segment_entries(account, folder.path)
        ],
        logs=_log_entries(folder, plan),
    )
    folder.write_manifest(manifest)
    return manifest


def _camera_entry(name: str, account: CameraAccount, last_slot: int) -> CameraEntry:
    delivered = account.delivered()
    return CameraEntry(
        name=name,
        frames=len(delivered),
        missing=missing_ranges(delivered, last_slot),
        parts=len({segment.part for segment in account.segments}),
    )


def _log_entries(folder: SessionFolder, plan: SessionPlan) -> list[LogEntry]:
    entries = []
    for camera in plan.cameras:
        for stage in STAGES:
            path = folder.event_log(camera.name, stage)
            if path.exists():
                entries.append(
                    LogEntry(
                        path=str(path.relative_to(folder.path)),
                        camera=camera.name,
                        stage=stage,
                        sha256=_sha256(path),
                        records=path.stat().st_size // EVENT_SIZE,
                    )
                )
    return entries


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
