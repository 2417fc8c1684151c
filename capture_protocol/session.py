"""A session on the server's disk: its plan, its files' names, and the manifest that seals it."""

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from capture_protocol.errors import InputError
from capture_protocol.grid import Grid
from capture_protocol.publish import publish_text
from capture_protocol.rig import AuditSection, CameraConfig, Name

PLAN_NAME = "session.json"
MANIFEST_NAME = "manifest.json"
FRAMES_NAME = "frames.parquet"
VIDEO_FOLDER = "video"
EVENTS_FOLDER = "events"
FORMAT_VERSION = 1

Stage = Literal["capture", "stream"]
STAGES: tuple[Stage, Stage] = ("capture", "stream")
_Doc = TypeVar("_Doc", bound=BaseModel)
_SEGMENT = re.compile(r"(\d{6,})_([a-z0-9][a-z0-9_-]*)_p(\d{3,})_s(\d{6,})\.(mkv|nut)")


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PlannedCamera(_Document):
    """One camera of a session."""

    name: Name
    index: int
    node: Name
    stream_port: int
    config: CameraConfig


class SessionPlan(_Document):
    """`session.json`: everything fixed when the session starts; never changed afterwards."""

    format: int = FORMAT_VERSION
    session: int
    rig_name: Name
    rig_id: str
    t0_ns: int
    rate_num: int
    rate_den: int
    gop: int
    segment_slots: int
    container: Literal["mkv", "nut"]
    forced: bool = False
    frames: int | None = None
    """Slots to record when that was asked for at the start."""
    drain_timeout_s: float
    start_datagram: str
    """The START as it was sent, in hex: it is repeated byte for byte."""
    cameras: list[PlannedCamera]
    audit: AuditSection
    """Thresholds as they were in rig.toml at the start."""

    @property
    def rate(self) -> Fraction:
        """Frames per second, exact."""
        return Fraction(self.rate_num, self.rate_den)

    @property
    def grid(self) -> Grid:
        """The session's grid on the rig's UTC."""
        return Grid(self.t0_ns, self.rate)

    def camera(self, name: str) -> PlannedCamera:
        """The camera called ``name``.

        Raises:
            InputError: the session has no such camera.
        """
        for camera in self.cameras:
            if camera.name == name:
                return camera
        raise InputError(f"session {self.session} has no camera {name!r}")


class SegmentEntry(_Document):
    """One file of a sealed session."""

    path: str
    """Relative to the session's folder."""
    camera: Name
    part: int
    segment: int
    sha256: str
    size: int
    frames: int
    """Frames in the file."""
    first_slot: int
    last_slot: int
    gaps: list[tuple[int, int]] = []
    """Slots missing between first and last, as inclusive ranges."""
    superseded: list[tuple[int, int]] = []
    """Slots that an earlier file holds as well (resent after a break): ignore them here."""


class CameraEntry(_Document):
    """One camera's account of a sealed session."""

    name: Name
    frames: int
    """Slots delivered, each counted once."""
    missing: list[tuple[int, int]]
    """Slots of the session that no file holds, as inclusive ranges."""
    parts: int


class LogEntry(_Document):
    """One event log of a sealed session."""

    path: str
    camera: Name
    stage: Stage
    sha256: str
    records: int


class Manifest(_Document):
    """`manifest.json`: written once, when the session is over; its hashes seal the files."""

    format: int = FORMAT_VERSION
    session: int
    complete: bool
    """Every camera delivered its last slot, or handed over a log that says why not."""
    reason: str = ""
    """Why the session is not complete; empty when it is."""
    sealed_ns: int
    last_slot: int
    """Last slot of the session (what STOP named); -1 if the session never had a frame."""
    plan_sha256: str
    frames_sha256: str = ""
    """Of frames.parquet."""
    cameras: list[CameraEntry]
    segments: list[SegmentEntry]
    logs: list[LogEntry]


@dataclass(frozen=True, slots=True, order=True)
class SegmentName:
    """Name of a segment file; names of one camera sort by part and segment."""

    session: int
    camera: str
    part: int
    segment: int
    container: str

    def __str__(self) -> str:
        return (
            f"{self.session:06}_{self.camera}_p{self.part:03}_s{self.segment:06}.{self.container}"
        )

    @classmethod
    def parse(cls, name: str) -> "SegmentName | None":
        """The parts of a segment's file name, or None if it is no such name."""
        match = _SEGMENT.fullmatch(name)
        if match is None:
            return None
        session, camera, part, segment, container = match.groups()
        return cls(int(session), camera, int(part), int(segment), container)


@dataclass(frozen=True, slots=True)
class SessionFolder:
    """The folder of one session: where each file lies."""

    path: Path

    @property
    def plan_path(self) -> Path:
        """`session.json`."""
        return self.path / PLAN_NAME

    @property
    def manifest_path(self) -> Path:
        """`manifest.json`; it exists once the session is sealed."""
        return self.path / MANIFEST_NAME

    @property
    def frames_path(self) -> Path:
        """`frames.parquet`."""
        return self.path / FRAMES_NAME

    def video(self, camera: str) -> Path:
        """Folder of one camera's segments."""
        return self.path / VIDEO_FOLDER / camera

    def event_log(self, camera: str, stage: Stage) -> Path:
        """One handed-over event log: consecutive records, see `events`."""
        return self.path / EVENTS_FOLDER / f"{camera}.{stage}.events"

    def segments(self, camera: str) -> list[Path]:
        """A camera's segment files in order of part and segment."""
        folder = self.video(camera)
        paths = folder.iterdir() if folder.is_dir() else ()
        named = [(name, path) for path in paths if (name := SegmentName.parse(path.name))]
        return [path for _, path in sorted(named)]

    def read_plan(self) -> SessionPlan:
        """The session's plan.

        Raises:
            InputError: this is no session folder, or its plan is damaged.
        """
        return _read(self.plan_path, SessionPlan)

    def read_manifest(self) -> Manifest | None:
        """The manifest, or None while the session is not sealed.

        Raises:
            InputError: the manifest is damaged.
        """
        return _read(self.manifest_path, Manifest) if self.manifest_path.exists() else None

    def write_plan(self, plan: SessionPlan) -> None:
        """Publish `session.json`."""
        publish_text(self.plan_path, plan.model_dump_json(indent=1) + "\n")

    def write_manifest(self, manifest: Manifest) -> None:
        """Publish `manifest.json`; the session is sealed from here on."""
        publish_text(self.manifest_path, manifest.model_dump_json(indent=1) + "\n")


def ranges(slots: "list[int]") -> list[tuple[int, int]]:
    """Sorted slots as inclusive ranges: ``[1, 2, 3, 7]`` gives ``[(1, 3), (7, 7)]``."""
    found: list[tuple[int, int]] = []
    for slot in slots:
        if found and slot == found[-1][1] + 1:
            found[-1] = (found[-1][0], slot)
        else:
            found.append((slot, slot))
    return found


def _read(path: Path, model: type[_Doc]) -> _Doc:
    try:
        return model.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise InputError(
            f"{path.parent} is no session folder: {path.name} is missing",
            hint="list the sessions with: manager sessions",
        ) from error
    except (OSError, ValidationError) as error:
        raise InputError(f"{path} is damaged: {error}") from error
