"""RTCP sender reports: which instant of the sender's clock belongs to which stream time.

FFmpeg attaches reports to packets, with the sender's RTP time stamp; packets carry FFmpeg's own
count, which starts at the first packet. The two are tied by ``start_time_realtime``: FFmpeg
computes it from the first report for stream time 0. FFmpeg's per-packet ``prft`` is not used:
it is that of the next frame when a report has just come.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction

from multiview.live._errors import StreamBrokenError

NS_PER_S = 1_000_000_000
NS_PER_US = 1_000
NTP_TO_UNIX_S = 2_208_988_800
"""From 1900 to 1970."""
ERA_S = 1 << 32
"""NTP seconds wrap in 2036 (RFC 5905, section 6): small ones belong to the era after it."""
NO_CLOCK_NS = 366 * 86_400 * NS_PER_S
"""A sender that is a year off has no clock: it counts from its own start (RFC 3550 allows it)."""

_REPORT = struct.Struct("@IQIII")
"""AVRTCPSenderReport: SSRC, NTP time, RTP time, packets and bytes sent."""


@dataclass(frozen=True, slots=True)
class Report:
    """One sender report as FFmpeg hands it on."""

    ssrc: int
    ntp: int
    """32.32 fixed point, seconds since 1900"""
    rtp: int
    """RTP time stamp, modulo 2**32"""

    @classmethod
    def from_bytes(cls, payload: bytes) -> Report:
        """Parse an ``rtcp_sr`` side data."""
        ssrc, ntp, rtp, _, _ = _REPORT.unpack_from(payload)
        return cls(ssrc, ntp, rtp)

    @property
    def utc_ns(self) -> int:
        """Unix time (ns) of the sender's clock."""
        seconds = self.ntp >> 32
        era_s = 0 if seconds & 1 << 31 else ERA_S
        return ((self.ntp * NS_PER_S) >> 32) + (era_s - NTP_TO_UNIX_S) * NS_PER_S


@dataclass(frozen=True, slots=True)
class ClockPoint:
    """An instant of the sender's clock (Unix ns) and the stream time (ns) that belongs to it."""

    source_ns: int
    utc_ns: int


class ReportReader:
    """Follows the reports of one connection, in stream time."""

    def __init__(self, time_base: Fraction) -> None:
        self._time_base = time_base
        self._last: Report | None = None
        self._ticks = 0

    def read(self, report: Report, start_us: int | None, arrival_ns: int) -> ClockPoint | None:
        """The point a report tells; None for a repeated one or a sender without a clock.

        ``start_us`` is the Unix time (µs) of stream time 0 by the first report, ``arrival_ns``
        that of the receiver.
        Raises StreamBrokenError when another sender took over.
        """
        last = self._last
        has_clock = abs(report.utc_ns - arrival_ns) < NO_CLOCK_NS
        if report == last or not has_clock or start_us is None:
            return None
        if last is None:
            elapsed_us = Fraction(report.utc_ns, NS_PER_US) - start_us
            self._ticks = round(elapsed_us / 1_000_000 / self._time_base)
        elif report.ssrc != last.ssrc:
            raise StreamBrokenError("another sender took over the stream (its SSRC changed)")
        else:
            self._ticks += signed32(report.rtp - last.rtp)
        self._last = report
        return ClockPoint(to_ns(self._ticks, self._time_base), report.utc_ns)


def signed32(difference: int) -> int:
    """The difference of two RTP time stamps, which wrap, as a signed number."""
    return (difference + (1 << 31)) % (1 << 32) - (1 << 31)


def to_ns(ticks: int, time_base: Fraction) -> int:
    """Stream ticks in ns, to the nearest."""
    return round(ticks * time_base * NS_PER_S)
