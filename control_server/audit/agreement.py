"""Whether stream, event log, container and table say the same about a camera's frames."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from capture_protocol import EventKind
from capture_protocol.frame import FRAME_SIZE
from capture_protocol.session import PlannedCamera
from control_server.audit.event_log import Records, StageLog
from control_server.audit.session import AuditedSession
from control_server.session.frames_table import CameraFrames
from control_server.session.record_times import midpoints_ns, slot_offsets_ns
from control_server.session.segment_scan import NO_CONTAINER_TIME

Bools = npt.NDArray[np.bool_]

CONTAINER_ERROR_NS = {"mkv": 500_000, "nut": 1}
"""Matroska rounds time stamps to 1 ms; NUT with pts = slot is exact to the rounding of 1 ns."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Contradictions between the witnesses of one camera; all zero in a sound session."""

    foreign: int
    """Frames whose record names another session, camera or grid."""
    derived: int
    """Rows whose midpoint or grid error is not what their own record gives."""
    unlogged: int | None
    """Frames without an event; None where no log was handed over."""
    differing: int
    """Frames whose event differs from the stream's record in any bit."""
    container_error_ns: int
    """Largest difference between container time and slot."""
    misplaced_keys: int
    """First frames of a group of pictures, or slots n % gop = 0, that are no key frames."""
    extra_keys: int
    """Key frames elsewhere: an encoder was restarted."""
    crossing_files: int
    """Files that hold slots of more than one segment of the grid."""


def examine_agreement(
    session: AuditedSession,
    camera: PlannedCamera,
    frames: CameraFrames,
    capture: StageLog,
    stream: StageLog,
) -> Agreement:
    """Compare all witnesses of one camera."""
    unlogged, differing = _against_log(frames, capture, stream)
    due, key = _key_frames_due(frames, session.plan.gop), frames.key
    return Agreement(
        foreign=_foreign(session, camera, frames),
        derived=_derived(frames),
        unlogged=unlogged,
        differing=differing,
        container_error_ns=_container_error_ns(session, frames),
        misplaced_keys=int(np.count_nonzero(due & ~key)),
        extra_keys=int(np.count_nonzero(key & ~due)),
        crossing_files=_crossing_files(frames, session.plan.segment_slots),
    )


def _foreign(session: AuditedSession, camera: PlannedCamera, frames: CameraFrames) -> int:
    records = frames.records
    target_ns = session.plan.t0_ns + slot_offsets_ns(session.rate, records["slot"])
    own = (
        (records["session"] == session.plan.session)
        & (records["camera"] == camera.index)
        & (records["slot_time_ns"] == target_ns)
        & (records["rate_num"] == session.rate.numerator)
        & (records["rate_den"] == session.rate.denominator)
    )
    return int(np.count_nonzero(~own))


def _derived(frames: CameraFrames) -> int:
    midpoints = midpoints_ns(frames.records)
    errors = midpoints - frames.records["slot_time_ns"]
    wrong = (frames.midpoint_ns != midpoints) | (frames.grid_error_ns != errors)
    return int(np.count_nonzero(wrong))


def _against_log(
    frames: CameraFrames, capture: StageLog, stream: StageLog
) -> tuple[int | None, int]:
    """Frames that a log lacks, and frames of which it says something else."""
    if not (capture.present and stream.present):
        return None, 0
    slots = frames.records["slot"]
    framed = capture.payloads[EventKind.FRAME]
    encoded = stream.payloads[EventKind.ENCODED]
    in_capture, event = _find(slots, framed)
    in_stream, unit = _find(slots, encoded)
    logged = in_capture & in_stream
    same = same_records(frames.records, framed, event)
    same &= _same_releases(frames.records, capture.payloads[EventKind.RELEASE])
    if len(encoded):
        same &= encoded["key"][unit] == frames.key
    return int(np.count_nonzero(~logged)), int(np.count_nonzero(logged & ~same))


def _same_releases(records: Records, releases: Records) -> Bools:
    """Whether the release that a record claims is the one that was logged; 0 claims none."""
    claimed = records["release_ns"]
    found, at = _find(records["slot"], releases)
    if not len(releases):
        return np.asarray(claimed == 0)
    return np.asarray((claimed == 0) | (found & (releases["released_ns"][at] == claimed)))


def same_records(records: Records, others: Records, at: npt.NDArray[np.intp]) -> Bools:
    """Whether ``records[i]`` and ``others[at[i]]`` are equal in every bit.

    Args:
        records: `FRAME_DTYPE`.
        others: the same fields, maybe padded.
        at: one index per record; they need not be found if ``others`` is empty.
    """
    if not len(others):
        return np.zeros(len(records), np.bool_)
    ordered = len(at) == len(others) and bool((at == np.arange(len(at))).all())
    chosen = _bytes(others) if ordered else _bytes(others)[at]
    return np.asarray((_bytes(records) == chosen).all(axis=1))


def _bytes(records: Records) -> npt.NDArray[np.uint8]:
    raw = records.view(np.uint8).reshape(len(records), records.dtype.itemsize)
    return raw[:, :FRAME_SIZE]


def _find(slots: npt.NDArray[np.uint64], events: Records) -> tuple[Bools, npt.NDArray[np.intp]]:
    """For each slot whether an event names it, and where the last such event is."""
    if not len(events):
        return np.zeros(len(slots), np.bool_), np.zeros(len(slots), np.intp)
    if len(events) == len(slots) and bool((events["slot"] == slots).all()):  # nothing was lost
        return np.ones(len(slots), np.bool_), np.arange(len(slots))
    order = np.argsort(events["slot"], kind="stable")
    named = events["slot"][order]
    at = np.maximum(np.searchsorted(named, slots, side="right") - 1, 0)
    return named[at] == slots, order[at]


def _container_error_ns(session: AuditedSession, frames: CameraFrames) -> int:
    timed = frames.container_ns != NO_CONTAINER_TIME
    if not len(timed):
        return 0
    expected = slot_offsets_ns(session.rate, frames.records["slot"])
    errors = np.abs(frames.container_ns - expected)
    return int(np.where(timed, errors, np.iinfo(np.int64).max).max())


def _key_frames_due(frames: CameraFrames, gop: int) -> Bools:
    slots = frames.records["slot"]
    group, within = np.divmod(slots, gop)
    first = np.diff(group, prepend=np.uint64(np.iinfo(np.uint64).max)) != 0
    return np.asarray(first | (within == 0))


def _crossing_files(frames: CameraFrames, segment_slots: int) -> int:
    """The rows are ordered by slot, so a file's lowest and highest block tell."""
    blocks = (frames.records["slot"] // segment_slots).astype(np.int64)
    lowest = np.full(len(frames.files), np.iinfo(np.int64).max)
    highest = np.full(len(frames.files), -1)
    np.minimum.at(lowest, frames.file, blocks)
    np.maximum.at(highest, frames.file, blocks)
    return int(np.count_nonzero(highest > lowest))
