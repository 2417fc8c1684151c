"""A handed-over event log as arrays, one per kind of event."""

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from capture_protocol.events import (
    CHECK_OFFSET,
    CLOCK_DTYPE,
    ENCODED_DTYPE,
    EVENT_DTYPE,
    EVENT_SIZE,
    LOST_DTYPE,
    PAYLOAD_SIZE,
    RELEASE_DTYPE,
    EventKind,
)
from capture_protocol.frame import FRAME_DTYPE
from capture_protocol.session import SessionFolder, Stage

Records = npt.NDArray[np.void]


@dataclass(frozen=True, slots=True)
class StageLog:
    """One stage's log."""

    present: bool
    """Whether the log was handed over at all."""
    whole: bool
    """Present, and no record between its first and its last is missing."""
    payloads: dict[EventKind, Records]
    """Payloads of each kind, in the order of their numbers."""


_PAYLOADS: dict[EventKind, "np.dtype[np.void]"] = {
    EventKind.RELEASE: RELEASE_DTYPE,
    EventKind.FRAME: FRAME_DTYPE,
    EventKind.LOST: LOST_DTYPE,
    EventKind.ENCODED: ENCODED_DTYPE,
    EventKind.CLOCK: CLOCK_DTYPE,
    EventKind.STEP: CLOCK_DTYPE,
}


def read_log(folder: SessionFolder, camera: str, stage: Stage, session: int) -> StageLog:
    """A camera's log of one stage; an empty one that is not `present` where there is no file.

    Records of other sessions and torn ends are left out. Checksums are the deep audit's matter
    (`damaged_records`).
    """
    path = folder.event_log(camera, stage)
    if not path.is_file():
        return StageLog(False, False, _by_kind(np.empty(0, EVENT_DTYPE)))
    events = _read(path)
    numbers = events["number"]
    whole = bool(len(events)) and bool((np.diff(numbers) == 1).all())
    if not whole:
        _, first = np.unique(numbers, return_index=True)
        events = events[first]
    own = events["session"] == session
    return StageLog(True, whole, _by_kind(events if own.all() else events[own]))


def _by_kind(events: Records) -> dict[EventKind, Records]:
    """Copies each payload once; the payload's layout is then only a view of it."""
    kinds = np.ascontiguousarray(events["kind"])
    return {
        kind: events["payload"][kinds == kind].view(_padded(layout))
        for kind, layout in _PAYLOADS.items()
    }


def _padded(layout: "np.dtype[np.void]") -> "np.dtype[np.void]":
    """The same fields in a record of `PAYLOAD_SIZE` bytes."""
    fields = dict(layout.fields or {})
    return np.dtype(
        {
            "names": list(fields),
            "formats": [field[0] for field in fields.values()],
            "offsets": [field[1] for field in fields.values()],
            "itemsize": PAYLOAD_SIZE,
        }
    )


def damaged_records(path: Path) -> int:
    """Records whose checksum does not hold, and a torn record at the end."""
    data = memoryview(path.read_bytes())
    damaged = 1 if len(data) % EVENT_SIZE else 0
    for at, check in enumerate(_read(path)["check"].tolist()):
        start = at * EVENT_SIZE
        damaged += zlib.crc32(data[start : start + CHECK_OFFSET]) != check
    return damaged


def _read(path: Path) -> Records:
    count = path.stat().st_size // EVENT_SIZE
    if not count:
        return np.empty(0, EVENT_DTYPE)
    return np.memmap(path, EVENT_DTYPE, "r", shape=(count,))
