"""The session under audit: its plan, its manifest, and how many slots it has."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pyarrow.parquet as pq

from capture_protocol import Grid, Manifest, SessionFolder, SessionPlan
from capture_protocol.session import SegmentEntry


@dataclass(frozen=True, slots=True)
class AuditedSession:
    """What every part of the audit starts from."""

    folder: SessionFolder
    plan: SessionPlan
    manifest: Manifest | None
    slots: int
    """Slots 0 .. last slot; every one must be accounted for on every camera."""

    @property
    def grid(self) -> Grid:
        """The session's grid on the rig's UTC."""
        return self.plan.grid

    @property
    def rate(self) -> Fraction:
        """Frames per second."""
        return self.plan.rate

    def sealed_files(self, camera: str) -> list[SegmentEntry]:
        """A camera's files as the manifest lists them."""
        segments = self.manifest.segments if self.manifest else []
        return [entry for entry in segments if entry.camera == camera]


def open_session(folder: SessionFolder) -> AuditedSession:
    """Read a session's plan and manifest.

    Where the session is not sealed, its end is what was asked for at the start, or else the last
    slot of any camera in `frames.parquet`.

    Raises:
        InputError: no session folder, or a damaged document in it.
    """
    plan, manifest = folder.read_plan(), folder.read_manifest()
    if manifest is not None:
        return AuditedSession(folder, plan, manifest, manifest.last_slot + 1)
    return AuditedSession(folder, plan, None, plan.frames or _delivered_slots(folder))


def _delivered_slots(folder: SessionFolder) -> int:
    if not folder.frames_path.is_file():
        return 0
    slots = pq.read_table(folder.frames_path, columns=["slot"])["slot"].to_numpy()
    return int(np.max(slots)) + 1 if len(slots) else 0
