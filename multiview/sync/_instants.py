"""The instants of a synchronized read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

from multiview.errors import SyncConfigError
from multiview.sources import NS_PER_S, VideoMetadata

MAX_RATE_HZ = 100_000
"""Above the fastest high-speed cameras; more is a mistake of units."""


def target_rate(wanted: str | float | Fraction, extents: Sequence[VideoMetadata]) -> Fraction:
    """Rate of a synchronized read in Hz: "lowest" or "highest" of the sources, or a number."""
    if wanted == "lowest":
        return Fraction(min(extent.fps for extent in extents)).limit_denominator(1001)
    if wanted == "highest":
        return Fraction(max(extent.fps for extent in extents)).limit_denominator(1001)
    if isinstance(wanted, str):
        raise SyncConfigError(f'a target rate is "lowest", "highest" or a number, not {wanted!r}')
    if not 0 < wanted <= MAX_RATE_HZ:
        raise SyncConfigError(f"a target rate of {wanted} Hz is not usable")
    return Fraction(wanted).limit_denominator(1001)


def instants(start_ns: int, end_ns: int, rate: Fraction) -> Iterator[int]:
    """``start + n/rate`` before ``end``, each rounded once: nothing accumulates."""
    n = 0
    while (time_ns := start_ns + round(n * NS_PER_S / rate)) < end_ns:
        yield time_ns
        n += 1


def covered_span(extents: Sequence[VideoMetadata]) -> tuple[int, int]:
    """From the first start to the last end of sources that must touch each other.

    Raises:
        SyncConfigError: a live source has no end, or a source shares no instant with any other.
    """
    spans = []
    for extent in extents:
        if extent.duration_ns is None:
            raise SyncConfigError(f"{extent.camera_id} is live: give a start and an end")
        spans.append((extent.start_ns, extent.start_ns + extent.duration_ns))
    if len(spans) > 1 and max(start for start, _ in spans) >= min(end for _, end in spans):
        raise SyncConfigError(_no_overlap(extents), hint="Give offsets or timelines that fit.")
    return min(start for start, _ in spans), max(end for _, end in spans)


def _no_overlap(extents: Sequence[VideoMetadata]) -> str:
    places = ", ".join(
        f"{e.camera_id} {e.start_ns / NS_PER_S:.3f} s + {e.duration or 0:.3f} s" for e in extents
    )
    return f"the sources have no instant in common: {places}"
