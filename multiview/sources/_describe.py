"""What a person should know of a file after its packets were read."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from multiview.sources._contract import NS_PER_S, Clock, VideoMetadata
from multiview.sources._index import FrameIndex, ticks_to_ns, typical_period_ns
from multiview.sources._packets import PacketFile, assumed_rate

MICROSECOND = Fraction(1, 1_000_000)
"""Unit of the duration in FFmpeg's container header (AV_TIME_BASE)."""


def describe(
    file: PacketFile, index: FrameIndex, camera_id: str, findings: tuple[str, ...], clock: Clock
) -> VideoMetadata:
    """Metadata of an indexed file; ``findings`` of the scan mean that it is incomplete.

    The header's promise of a duration can be compared only with the container's own times.
    """
    period_ns = typical_period_ns(index.times_ns) or NS_PER_S / float(assumed_rate(file.stream))
    start_ns, last_ns = int(index.times_ns[0]), int(index.times_ns[-1])
    end_ns = last_ns + round(period_ns)
    losses = (*findings, *_shortfall(file, end_ns)) if clock is Clock.OWN else findings
    return VideoMetadata(
        camera_id,
        file.stream.width,
        file.stream.height,
        fps=NS_PER_S / period_ns,
        codec=file.stream.codec_context.name,
        clock=clock,
        total_frames=len(index),
        start_ns=start_ns,
        duration_ns=end_ns - start_ns,
        complete=not losses,
        notes=(*losses, *_oddities(file, index)),
    )


def _shortfall(file: PacketFile, end_ns: int) -> list[str]:
    """Whether the header promises clearly more than there is."""
    promised_ns = _promised_end_ns(file)
    missing_s = (promised_ns - end_ns) / NS_PER_S
    return [f"truncated: the last {missing_s:.3f} s are missing"] if missing_s > 0.25 else []


def _promised_end_ns(file: PacketFile) -> int:
    stream, container = file.stream, file.container
    if stream.duration and stream.time_base:
        return ticks_to_ns(stream.duration + (stream.start_time or 0), stream.time_base)
    if container.duration and len(container.streams) == 1:
        return ticks_to_ns(container.duration + (container.start_time or 0), MICROSECOND)
    return 0


def _oddities(file: PacketFile, index: FrameIndex) -> list[str]:
    notes = []
    estimated = int(index.estimated.sum())
    if estimated == len(index):
        rate = float(assumed_rate(file.stream))
        notes.append(f"the file has no times: {rate:g} frames per second are assumed")
    elif estimated:
        notes.append(f"{estimated} of {len(index)} frames have no time: estimated from neighbours")
    repeats = int((np.diff(index.times_ns) == 0).sum())
    if repeats:
        notes.append(f"{repeats} frames have the same time as the one before")
    return notes
