"""One connection to a live stream: packets in, stamped pictures out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias
from urllib.parse import urlsplit

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from capture_protocol.clock import read_clock
from capture_protocol.errors import EnvironmentLackError, InputError
from multiview.errors import SourceOpenError, SourceStalledError
from multiview.live._continuity import FrameCounter
from multiview.live._errors import StreamBrokenError
from multiview.live._reports import NS_PER_S, Report, ReportReader, to_ns
from multiview.live._sender_clock import ClockFinding
from multiview.live._stamp import Stamp
from multiview.live._stamper import Stamper
from multiview.sources._packets import MAX_PIXELS

VideoPacket: TypeAlias = "av.Packet[VideoStream]"

SCHEMES = frozenset({"rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "srt", "tcp", "udp"})
RTSP = frozenset({"rtsp", "rtsps"})
TRANSPORTS = ("tcp", "udp")
UDP_BUFFER_BYTES = 4 << 20
"""A key frame of a 4K camera comes at once; the kernel's usual 208 KiB would lose its end."""
DECODER_HOLDS = 64
"""Packets that a decoder may keep before it gives their pictures; H.264 and H.265 allow 16."""
HELD_BYTES = 32 << 20
"""Encoded video held back until the first sender report: 8 s at 32 Mbit/s."""
SETTLE_NS = NS_PER_S // 2
"""What came while the connection was being opened is read in a burst, which tells no arrival."""
MAX_LEAP_NS = 10 * NS_PER_S
"""Stream time may run ahead of arrival by a jitter buffer, never by so much."""
MAX_BACK_NS = NS_PER_S
"""Stream time may go back within a group of B-frames only."""


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """How a live stream is read."""

    transport: str = "tcp"
    """of RTSP: "tcp" loses nothing, "udp" has less delay"""
    open_timeout_s: float = 10.0
    """until the first packet"""
    stall_timeout_s: float = 5.0
    """without a packet, until the connection is given up"""
    report_wait_s: float = 8.0
    """for the first sender report: RFC 3550 (6.3.1) lets 7.5 s pass between two"""
    motion_vectors: bool = True
    keep_damaged: bool = False
    """hand out pictures that refer to lost ones; for streams that never send a key frame"""

    def __post_init__(self) -> None:
        if self.transport not in TRANSPORTS:
            raise InputError(f"the RTSP transport is one of {TRANSPORTS}, not {self.transport!r}")
        if min(self.open_timeout_s, self.stall_timeout_s) <= 0 or self.report_wait_s < 0:
            raise InputError("time limits of a live stream are positive")


@dataclass(frozen=True, slots=True)
class LiveFrame:
    """One decoded frame with its stamp."""

    stamp: Stamp
    arrival_mono_ns: int
    """receiver's monotonic clock when its packet was there"""
    decoded: av.VideoFrame
    damaged: bool
    """refers to something that was lost on the way"""

    @property
    def nbytes(self) -> int:
        """Memory of the picture."""
        return sum(plane.buffer_size for plane in self.decoded.planes)


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """What a stream announces of itself."""

    width: int
    height: int
    fps: float
    codec: str


class Connection:
    """An open stream; ``frames`` yields until it breaks.

    Raises SourceOpenError or SourceStalledError when it cannot be opened.
    """

    def __init__(self, url: str, options: LiveOptions) -> None:
        self.shown_url = check_url(url)
        self._options = options
        self._is_rtsp = urlsplit(url).scheme.lower() in RTSP
        self._container, self._stream = self._open(url)
        self._codec = self._stream.codec_context
        self._codec.thread_type = "SLICE"  # threads per frame would delay every picture
        if options.motion_vectors:
            self._codec.options = {"flags2": "+export_mvs"}
        self._time_base = Fraction(self._stream.time_base or Fraction(1, 90_000))
        self._reports = ReportReader(self._time_base)
        wait_ns = round(options.report_wait_s * NS_PER_S) if self._is_rtsp else SETTLE_NS
        self._stamper: Stamper[tuple[VideoPacket, int]] = Stamper(wait_ns, HELD_BYTES)
        self._to_utc = read_clock()
        self._counter = FrameCounter() if self._is_rtsp and self._codec.name == "h264" else None
        if self._counter is not None:
            self._counter.lost_before(self._codec.extradata or b"")
        self._in_decoder: dict[int, tuple[Stamp, int, bool]] = {}  # by the packet's number
        self._packets = 0
        self._refers_to_lost = False  # in the order of decoding
        self._corrupt = False  # in the order of presentation
        self._last: tuple[int, int] | None = None

    @property
    def findings(self) -> tuple[ClockFinding, ...]:
        """Contradictions between the sender's reports so far."""
        return tuple(self._stamper.clock.findings)

    @property
    def info(self) -> StreamInfo:
        """Size, announced rate and codec."""
        codec, rate = self._codec, self._stream.average_rate
        return StreamInfo(codec.width, codec.height, float(rate or 0), codec.name)

    def frames(self) -> Iterator[LiveFrame]:
        """Stamped frames in order of presentation, from the first key frame on.

        Raises StreamBrokenError or SourceStalledError; a live stream has no regular end.
        """
        limit_s = self._options.report_wait_s + self._options.stall_timeout_s
        progress_ns = time.monotonic_ns()
        for packet in self._packets_from_key():
            mono_ns = time.monotonic_ns()
            if mono_ns - progress_ns > limit_s * NS_PER_S:
                raise StreamBrokenError(f"{self.shown_url}: no usable picture in {limit_s:g} s")
            arrival_ns = self._to_utc.to_real_ns(mono_ns)
            source_ns = None if packet.pts is None else to_ns(packet.pts, self._time_base)
            if source_ns is not None:
                self._check_leap(source_ns, arrival_ns)
                self._take_reports(packet, source_ns, arrival_ns)
            elif not self._is_rtsp:
                source_ns = arrival_ns
            stamped = self._stamper.take((packet, mono_ns), packet.size, source_ns, arrival_ns)
            for (held, held_mono_ns), stamp in stamped:
                for frame in self._decode(held, stamp, held_mono_ns):
                    progress_ns = mono_ns
                    yield frame
        raise StreamBrokenError(f"{self.shown_url}: the sender ended the stream")

    def close(self) -> None:
        """Hang up."""
        self._container.close()

    def _open(self, url: str) -> tuple[InputContainer, VideoStream]:
        try:
            container = av.open(
                url,
                options=self._demuxer_options(),
                timeout=(self._options.open_timeout_s, self._options.stall_timeout_s),
            )
        except av.error.ExitError as error:
            limit_s = self._options.open_timeout_s
            raise SourceStalledError(f"{self.shown_url}: no video in {limit_s:g} s") from error
        except (av.error.FFmpegError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise SourceOpenError(f"{self.shown_url} cannot be opened: {reason}") from error
        stream = next(iter(container.streams.video), None)
        if stream is not None and 0 < stream.width * stream.height <= MAX_PIXELS:
            return container, stream
        container.close()
        shown = "no video" if stream is None else f"pictures of {stream.width}x{stream.height}"
        raise SourceOpenError(f"{self.shown_url} sends {shown}")

    def _demuxer_options(self) -> dict[str, str]:
        quick = {"fpsprobesize": "0"}  # do not watch 20 frames to guess a rate that is announced
        if not self._is_rtsp:
            return quick | {"analyzeduration": "1000000"}  # µs; FLV may wait 5 s for sound
        return quick | {
            "rtsp_transport": self._options.transport,
            # with sound beside it FFmpeg would shift the picture's stream time at each report
            "allowed_media_types": "video",
            "buffer_size": str(UDP_BUFFER_BYTES),
        }

    def _packets_from_key(self) -> Iterator[VideoPacket]:
        """All packets, but for those before the first key frame, unless none comes at all."""
        started = False
        patience_s = time.monotonic() + self._options.open_timeout_s
        try:
            for packet in self._container.demux(self._stream):
                started = started or packet.is_keyframe or time.monotonic() > patience_s
                if started and packet.size:
                    yield packet
        except av.error.ExitError as error:
            limit_s = self._options.stall_timeout_s
            raise SourceStalledError(f"{self.shown_url}: no data for {limit_s:g} s") from error
        except av.error.FFmpegError as error:
            raise StreamBrokenError(f"{self.shown_url} broke: {error.strerror}") from error

    def _check_leap(self, source_ns: int, arrival_ns: int) -> None:
        """A stream time that leaps belongs to a sender that started anew."""
        last, self._last = self._last, (source_ns, arrival_ns)
        if last is None:
            return
        advance_ns, waited_ns = source_ns - last[0], arrival_ns - last[1]
        if not -MAX_BACK_NS <= advance_ns <= waited_ns + MAX_LEAP_NS:
            raise StreamBrokenError(
                f"{self.shown_url}: the stream's time leapt by {advance_ns / NS_PER_S:.1f} s"
            )

    def _take_reports(self, packet: VideoPacket, source_ns: int, arrival_ns: int) -> None:
        for side_data in packet.iter_sidedata():
            if side_data.data_type == "rtcp_sr":
                report = Report.from_bytes(bytes(side_data))
                start_us = self._container.start_time_realtime
                point = self._reports.read(report, start_us, arrival_ns)
                if point is not None:
                    self._stamper.report(point, arrival_ns, source_ns)

    def _decode(
        self, packet: VideoPacket, stamp: Stamp | None, mono_ns: int
    ) -> Iterator[LiveFrame]:
        self._refers_to_lost |= self._counter is not None and self._counter.lost_before(
            bytes(packet)
        )
        self._refers_to_lost &= not packet.is_keyframe
        self._number(packet, stamp, mono_ns)
        try:
            pictures = self._codec.decode(packet)
        except av.error.FFmpegError:
            self._refers_to_lost = True
            return
        for picture in pictures:
            whole = picture.key_frame and not picture.is_corrupt
            self._corrupt = not whole and (self._corrupt or picture.is_corrupt)
            known = self._in_decoder.pop(picture.pts, None) if picture.pts is not None else None
            if known is not None:
                stamp, mono_ns, refers_to_lost = known
                damaged = (refers_to_lost or self._corrupt) and not self._options.keep_damaged
                yield LiveFrame(stamp, mono_ns, picture, damaged)

    def _number(self, packet: VideoPacket, stamp: Stamp | None, mono_ns: int) -> None:
        """Send a number through the decoder in place of the time stamp, so that a picture finds
        its packet's stamp; what the decoder never gave back is forgotten after a while."""
        packet.pts, packet.dts = self._packets, None
        if stamp is not None:
            self._in_decoder[self._packets] = (stamp, mono_ns, self._refers_to_lost)
        self._in_decoder.pop(self._packets - DECODER_HOLDS, None)
        self._packets += 1


def check_url(url: str) -> str:
    """Return a stream's address as it may be shown: without its password.

    Raises InputError for what is no address of a stream.
    """
    parts = urlsplit(url)
    if parts.scheme.lower() not in SCHEMES:
        raise InputError(
            f"{url!r} is no address of a live stream ({', '.join(sorted(SCHEMES))})",
            hint="Files are read by VideoSynchronizer or FileVideoSource.",
        )
    if not hasattr(InputContainer, "start_time_realtime"):
        raise EnvironmentLackError(
            f"PyAV {av.__version__} does not tell sender reports", hint="install av >= 18.1"
        )
    if parts.password is None:
        return url
    return parts._replace(netloc=parts.netloc.replace(f":{parts.password}@", ":***@")).geturl()
