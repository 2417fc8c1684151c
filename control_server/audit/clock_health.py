"""What a camera's frames and event log say about the clock they were timed with."""

import numpy as np

from capture_protocol import ClockSource, EventKind, FrameFlag
from control_server.audit.event_log import Records, StageLog
from control_server.audit.result import ClockSummary
from control_server.audit.statistics import spread


def examine_clock(records: Records, capture: StageLog) -> ClockSummary:
    """Source, offset, uncertainty, steps and holdover over the session."""
    readings = capture.payloads[EventKind.CLOCK]
    sizes = np.abs(capture.payloads[EventKind.STEP]["offset_ns"])
    flags = records["flags"]
    flagged = _onsets(flags & FrameFlag.CLOCK_STEPPED != 0)
    return ClockSummary(
        sources=_sources(readings),
        readings=len(readings),
        steps=max(len(sizes), flagged),
        largest_step_ns=int(sizes.max()) if len(sizes) else 0,
        offset=spread(records["clock_offset_ns"].astype(np.int64)),
        uncertainty=spread(records["clock_uncertainty_ns"].astype(np.int64)),
        unsynchronised=_count(flags, FrameFlag.UNSYNCHRONISED),
        holdover=_count(flags, FrameFlag.CLOCK_HOLDOVER),
    )


def _sources(readings: Records) -> list[str]:
    codes, first = np.unique(readings["source"], return_index=True)
    known = {int(source): source.name.lower() for source in ClockSource}
    return [known.get(int(code), f"source {code}") for code in codes[np.argsort(first)]]


def _onsets(flagged: "np.typing.NDArray[np.bool_]") -> int:
    return int(np.count_nonzero(np.diff(flagged.astype(np.int8), prepend=0) > 0))


def _count(flags: "np.typing.NDArray[np.uint16]", flag: FrameFlag) -> int:
    return int(np.count_nonzero(flags & flag))
