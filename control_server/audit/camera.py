"""All that the audit finds out about one camera without touching its video."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from capture_protocol import FrameFlag, LockState
from capture_protocol.session import PlannedCamera, ranges
from control_server.audit.account import (
    SlotState,
    States,
    Witnesses,
    contradicted_losses,
    count_missing,
    settle,
)
from control_server.audit.agreement import Agreement, examine_agreement
from control_server.audit.clock_health import examine_clock
from control_server.audit.event_log import Records, StageLog, read_log
from control_server.audit.result import CameraResult
from control_server.audit.session import AuditedSession
from control_server.audit.statistics import Nanoseconds, drift_ppm, interval_errors_ns, spread
from control_server.session.frames_table import CameraFrames, read_frames

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class FrameTimes:
    """Times of a camera's delivered frames, one entry per frame, ordered by slot."""

    slots: npt.NDArray[np.uint64]
    grid_error_ns: Nanoseconds
    """Exposure midpoint minus Tn."""
    late: Mask
    repeated: Mask
    released: Mask
    """Whether a request was queued for this slot."""
    release_error_ns: Nanoseconds
    """Release minus Tn; meaningless where not `released`."""
    clock_offset_ns: Nanoseconds
    clock_uncertainty_ns: Nanoseconds


@dataclass(frozen=True, slots=True)
class CameraFindings:
    """One camera's account, timing and contradictions."""

    plan: PlannedCamera
    result: CameraResult
    states: States
    times: FrameTimes
    agreement: Agreement
    contradicted: int
    """Slots that a log calls lost although a file holds them."""
    stray: int
    """Rows beyond the session's last slot, or of a slot that an earlier row holds."""
    log_gaps: int
    """Event logs with missing records."""
    manifest_agrees: bool
    """The manifest's count and missing slots are those of the table."""

    @property
    def last_delivered(self) -> int:
        """Last slot that was delivered, -1 if none was."""
        slots = self.times.slots
        return int(slots[-1]) if len(slots) else -1


def examine_camera(session: AuditedSession, camera: PlannedCamera) -> CameraFindings:
    """Account for, time and cross-examine one camera.

    Raises:
        InputError: `frames.parquet` is missing or damaged.
    """
    frames = read_frames(session.folder, camera.name)
    number = session.plan.session
    capture = read_log(session.folder, camera.name, "capture", number)
    stream = read_log(session.folder, camera.name, "stream", number)
    witnesses = Witnesses(capture, stream, session.sealed_files(camera.name))
    states = settle(session.slots, frames.records["slot"], witnesses)
    times = _times(session, frames)
    return CameraFindings(
        plan=camera,
        result=_result(session, camera, frames.records, states, times, capture),
        states=states,
        times=times,
        agreement=examine_agreement(session, camera, frames, capture, stream),
        contradicted=contradicted_losses(states, witnesses),
        stray=_stray(times.slots, session.slots),
        log_gaps=sum(log.present and not log.whole for log in (capture, stream)),
        manifest_agrees=_manifest_agrees(session, camera.name, times.slots),
    )


def _times(session: AuditedSession, frames: CameraFrames) -> FrameTimes:
    records, flags = frames.records, frames.records["flags"]
    errors = np.array(frames.grid_error_ns)
    return FrameTimes(
        slots=np.array(records["slot"]),
        grid_error_ns=errors,
        late=(flags & FrameFlag.LATE != 0) | (np.abs(errors) > session.grid.period_ns // 4),
        repeated=flags & FrameFlag.REPEATED != 0,
        released=records["release_ns"] != 0,
        release_error_ns=records["release_ns"] - records["slot_time_ns"],
        clock_offset_ns=np.array(records["clock_offset_ns"]),
        clock_uncertainty_ns=records["clock_uncertainty_ns"].astype(np.int64),
    )


def _result(
    session: AuditedSession,
    camera: PlannedCamera,
    records: Records,
    states: States,
    times: FrameTimes,
    capture: StageLog,
) -> CameraResult:
    files = session.sealed_files(camera.name)
    target_ns = np.array(records["slot_time_ns"])
    on_time = ~times.late  # a single late frame would tilt the fitted line
    return CameraResult(
        name=camera.name,
        slots=session.slots,
        delivered=int(np.count_nonzero(states == SlotState.DELIVERED)),
        late=int(np.count_nonzero(times.late)),
        repeated=int(np.count_nonzero(times.repeated)),
        missing=count_missing(states),
        locks=_locks(records),
        release_error=spread(times.release_error_ns[times.released]),
        frame_start_error=spread(records["frame_start_ns"] - target_ns),
        grid_error=spread(times.grid_error_ns),
        interval_jitter=spread(interval_errors_ns(times.slots, times.grid_error_ns)),
        drift_ppm=drift_ppm(times.grid_error_ns[on_time], target_ns[on_time]),
        clock=examine_clock(records, capture),
        parts=len({entry.part for entry in files}),
        segments=len(files),
    )


def _locks(records: Records) -> dict[str, int]:
    counts = np.bincount(records["lock"], minlength=len(LockState))
    return {state.name.lower(): int(counts[state]) for state in LockState if counts[state]}


def _stray(slots: npt.NDArray[np.uint64], session_slots: int) -> int:
    again = np.diff(slots, prepend=np.uint64(np.iinfo(np.uint64).max)) == 0
    return int(np.count_nonzero((slots >= session_slots) | again))


def _manifest_agrees(session: AuditedSession, camera: str, slots: npt.NDArray[np.uint64]) -> bool:
    if session.manifest is None:
        return True
    absent = np.ones(session.slots, np.bool_)
    absent[slots[slots < session.slots]] = False
    missing = ranges(np.flatnonzero(absent).tolist())
    return any(
        entry.name == camera and entry.frames == len(slots) and entry.missing == missing
        for entry in session.manifest.cameras
    )
