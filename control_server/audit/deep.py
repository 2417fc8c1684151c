"""The deep audit: the video itself against everything that is claimed about it."""

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from capture_protocol.session import STAGES, PlannedCamera
from control_server.audit.agreement import same_records
from control_server.audit.decode import SegmentLook, look_at_segment
from control_server.audit.event_log import damaged_records
from control_server.audit.files import Progress
from control_server.audit.findings import MOST_LISTED, NS_PER_US, counted, plural
from control_server.audit.result import Check, OpticalSummary, Spread, Verdict
from control_server.audit.session import AuditedSession
from control_server.audit.statistics import Nanoseconds, spread
from control_server.session.frames_table import CameraFrames, read_frames

PROCESSES = 2
SMALL_BYTES = 4_000_000
"""Sessions up to this size are decoded faster than another process starts."""
READABLE_SHARE = 0.9
"""Of a simulated camera's bands, so many must show a time before "no contradiction" is a proof."""

_TITLES = {
    "video": "Video equals table",
    "decode": "Every picture decodes",
    "event_checksums": "Event records are whole",
    "optical_clock": "Pixels' time equals claim",
}


@dataclass
class DeepFindings:
    """What the video of all cameras says."""

    pictures: int = 0
    without_evidence: int = 0
    differing: int = 0
    """Records in the video that the table has otherwise or not at all, and the reverse."""
    undecoded: int = 0
    """Pictures that do not decode, or decode to something else than one picture."""
    problems: list[str] = field(default_factory=list)
    damaged_events: int = 0
    """Records of the event logs whose checksum does not hold."""
    optical: dict[str, OpticalSummary] = field(default_factory=dict)
    excess: Spread | None = None
    """By how much optical errors exceed the claimed uncertainty; 0 where they do not."""
    unread_cameras: list[str] = field(default_factory=list)
    """Simulated cameras whose clock is not readable often enough."""


def examine_video(session: AuditedSession, progress: Progress | None) -> DeepFindings:
    """Scan and decode every segment of every camera."""
    found = DeepFindings()
    excess = [np.empty(0, np.int64)]
    with _looker(session) as looker:
        for camera in session.plan.cameras:
            looks = []
            for look in looker(session.folder.segments(camera.name)):
                looks.append(look)
                if progress is not None:
                    progress(look.scan.path.name)
            _add_camera(found, camera, read_frames(session.folder, camera.name), looks)
            excess += [beyond_bound_ns(look) for look in looks]
            found.damaged_events += _damaged_events(session, camera.name)
    found.excess = spread(np.concatenate(excess))
    return found


def _damaged_events(session: AuditedSession, camera: str) -> int:
    logs = (session.folder.event_log(camera, stage) for stage in STAGES)
    return sum(damaged_records(log) for log in logs if log.is_file())


@contextmanager
def _looker(session: AuditedSession) -> Iterator[Callable[[list[Path]], Iterable[SegmentLook]]]:
    """Looks at segments, in two processes where that is worth their start."""
    sizes = (
        path.stat().st_size
        for camera in session.plan.cameras
        for path in session.folder.segments(camera.name)
    )
    if sum(sizes) <= SMALL_BYTES:
        yield lambda paths: map(look_at_segment, paths)
        return
    spawn = multiprocessing.get_context("spawn")  # forking would copy the threads' locks
    with ProcessPoolExecutor(PROCESSES, mp_context=spawn) as pool:
        yield lambda paths: pool.map(look_at_segment, paths)


def beyond_bound_ns(look: SegmentLook) -> Nanoseconds:
    """By how much each reading is further off than the claimed uncertainty, at least 0."""
    excess: Nanoseconds = np.maximum(np.abs(look.optical_error_ns) - look.optical_bound_ns, 0)
    return excess


def _add_camera(
    found: DeepFindings, camera: PlannedCamera, frames: CameraFrames, looks: list[SegmentLook]
) -> None:
    found.pictures += sum(look.scan.frames for look in looks)
    found.without_evidence += sum(look.scan.without_evidence for look in looks)
    found.undecoded += sum(abs(look.scan.frames - look.decoded) for look in looks)
    found.problems += [
        f"{look.scan.path.name} {look.problem or look.scan.damaged or 'decodes to another count'}"
        for look in looks
        if look.decoded != look.scan.frames
    ]
    found.differing += _differing(frames, looks)
    found.optical[camera.name] = optical = _optical(looks)
    bands = optical.readable + optical.unreadable
    simulated = camera.config.backend == "simulated"
    if simulated and optical.readable < READABLE_SHARE * bands:
        found.unread_cameras.append(camera.name)


def _differing(frames: CameraFrames, looks: list[SegmentLook]) -> int:
    """Records of the video that are not in the table so, and rows that no file holds."""
    slots = frames.records["slot"]
    if not looks:
        return len(slots)
    records = np.concatenate([look.scan.records for look in looks])
    if not len(slots):
        return len(records)
    row = np.minimum(np.searchsorted(slots, records["slot"]), len(slots) - 1)
    wrong = ~same_records(records, frames.records, row)
    return int(np.count_nonzero(wrong) + len(np.setdiff1d(slots, records["slot"])))


def _optical(looks: list[SegmentLook]) -> OpticalSummary:
    errors = [look.optical_error_ns for look in looks]
    return OpticalSummary(
        readable=sum(map(len, errors)),
        unreadable=sum(look.unreadable for look in looks),
        error=spread(np.concatenate(errors)) if errors else None,
        beyond_bound=sum(int(np.count_nonzero(beyond_bound_ns(look))) for look in looks),
    )


def deep_checks(session: AuditedSession, found: DeepFindings) -> list[Check]:
    """The questions that only the video can answer."""
    return [
        check_video(found),
        check_decode(found),
        check_event_checksums(found),
        check_optical_clock(found, session.plan.audit.optical_error_p99_us),
    ]


def skipped_checks() -> list[Check]:
    """The deep audit's checks, where it was not asked for."""
    return [_skipped(name, "Not asked for: --deep.") for name in _TITLES]


def check_video(found: DeepFindings) -> Check:
    """Whether every picture carries evidence, and the table holds it bit for bit."""
    return counted(
        "video",
        _TITLES["video"],
        found.differing + found.without_evidence,
        "frame records",
        good=f"All {found.pictures} pictures carry evidence, equal to the table in every bit.",
        bad=f"{plural(found.without_evidence, 'picture')} without evidence; "
        f"{plural(found.differing, 'record')} differing between video and table.",
    )


def check_decode(found: DeepFindings) -> Check:
    """Whether every picture can be decoded."""
    return counted(
        "decode",
        _TITLES["decode"],
        found.undecoded,
        "pictures",
        good=f"All {found.pictures} pictures decode.",
        bad=f"{plural(found.undecoded, 'picture')} not decodable: "
        f"{'; '.join(found.problems[:MOST_LISTED])}",
    )


def check_event_checksums(found: DeepFindings) -> Check:
    """Whether every record of the event logs is as the agent wrote it."""
    return counted(
        "event_checksums",
        _TITLES["event_checksums"],
        found.damaged_events,
        "events",
        good="The checksum of every event record holds.",
        bad=f"{plural(found.damaged_events, 'event record')} damaged.",
    )


def check_optical_clock(found: DeepFindings, limit_us: float) -> Check:
    """Whether the instants in the pixels are those that were claimed, within the claimed bound."""
    name, title = "optical_clock", _TITLES["optical_clock"]
    if found.unread_cameras:
        cameras = ", ".join(found.unread_cameras)
        sentence = f"Too few optical clocks are readable in simulated pictures: {cameras}."
        return Check(name=name, title=title, verdict=Verdict.UNKNOWN, sentence=sentence)
    if found.excess is None:
        return _skipped(name, "No picture holds an optical clock.")
    beyond_us = found.excess.p99_ns / NS_PER_US
    return Check(
        name=name,
        title=title,
        verdict=Verdict.PASS if beyond_us <= limit_us else Verdict.FAIL,
        measured=beyond_us,
        limit=limit_us,
        unit="µs",
        sentence=_optical_sentence(found, beyond_us),
    )


def _optical_sentence(found: DeepFindings, beyond_us: float) -> str:
    errors = [optical.error for optical in found.optical.values() if optical.error is not None]
    readings = sum(error.count for error in errors)
    worst_us = max(error.p99_ns for error in errors) / NS_PER_US
    return (
        f"{readings} clock readings: p99 of the error {worst_us:.1f} µs on the worst camera, "
        f"{beyond_us:.1f} µs beyond the claimed uncertainty."
    )


def _skipped(name: str, sentence: str) -> Check:
    return Check(name=name, title=_TITLES[name], verdict=Verdict.SKIPPED, sentence=sentence)
