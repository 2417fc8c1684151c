"""Numbered packets of a file's video stream, from any place on."""

from __future__ import annotations

import stat
from bisect import bisect_right
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.video.stream import VideoStream

from multiview.errors import SourceError, SourceNotFoundError, SourceOpenError
from multiview.sources._hardware import decoder_name, hardware_device
from multiview.sources._index import PacketRow
from multiview.sources._patience import Patience

MAX_PIXELS = 8192 * 8192
"""A damaged header may claim any size; no camera's picture is larger than this."""
MAX_ASSUMED_HZ = 1000
DEFAULT_RATE = Fraction(25)
"""What FFmpeg assumes of streams that say nothing."""
NO_VIDEO_FORMATS = frozenset({"tty"})
"""FFmpeg would draw any text as a terminal's screen."""
SEEK_TRIES = 3
"""Key packets whose stamps are tried before the file is read from its start."""
FORMATS_WITHOUT_PTS = frozenset({"avi"})
"""FFmpeg guesses presentation times for these containers, and errs with B-frames."""

VideoPacket: TypeAlias = "av.Packet[VideoStream]"


class PacketFile:
    """One open file; remembers its packets so that each can be found again after a seek."""

    def __init__(self, patience: Patience, *, decoder_threads: int = 1, hardware: bool) -> None:
        self.path = patience.path
        self._patience = patience
        self.device = hardware_device() if hardware else None
        self.decoder_threads = decoder_threads
        self.container, self.stream = self._open()
        self._has_pts = self.container.format.name not in FORMATS_WITHOUT_PTS
        self.rows: list[PacketRow] = []
        self._keys: list[int] = []
        self._numbers: dict[tuple[int | None, int, int | None], int] = {}
        self._at_start = True
        self.headers_change = False
        """Packets carry new headers for the decoder, which only a reader of all of them has."""

    def scan(self, visit: Callable[[VideoPacket], None]) -> tuple[str, ...]:
        """Read every packet once, showing it to ``visit``; returns what was found wrong."""
        findings = []
        corrupt = False
        try:
            for packet in self._read():
                self.rows.append(self._row(packet))
                visit(packet)
                self.headers_change |= packet.has_sidedata("new_extradata")
                corrupt = packet.is_corrupt
        except av.error.FFmpegError as error:
            findings.append(f"unreadable after packet {len(self.rows)}: {error.strerror}")
        if corrupt:
            self.rows.pop()
            findings.append("cut off within a frame, which is left out")
        self._keys = [number for number, row in enumerate(self.rows) if row.key]
        self._numbers = {
            _identity(row): number for number, row in reversed([*enumerate(self.rows)])
        }
        return tuple(findings)

    def packets_from(self, number: int) -> Iterator[tuple[int, VideoPacket]]:
        """Packets ``number``, ``number + 1``, ... with their numbers."""
        for found, packet in self._landed_at_or_before(number):
            if found >= number:
                yield found, packet

    @property
    def decoder(self) -> str:
        """What decodes this file: a kind of device, or "software"."""
        return decoder_name(self.stream.codec_context, self.device)

    def leave_device(self) -> None:
        """Decode in software from now on."""
        self.device = None
        self._reopen()

    def close(self) -> None:
        """Close the file."""
        self.container.close()

    def _reopen(self) -> None:
        self.container.close()
        self.container, self.stream = self._open()

    def _open(self) -> tuple[InputContainer, VideoStream]:
        _check_regular(self.path)
        try:
            container = self._open_container()
        except av.error.ExitError as error:
            raise self._patience.stalled() from error
        except (av.error.FFmpegError, ValueError) as error:
            raise SourceOpenError(
                f"{self.path} cannot be read as a video: {error}",
                hint="A recording cut off before its end was written may be lost as MP4: try a "
                "repair tool, and record to Matroska or fragmented MP4.",
            ) from error
        try:
            stream = _video_stream(container, self.path)
        except SourceError:
            container.close()
            raise
        codec = stream.codec_context
        codec.thread_type, codec.thread_count = "FRAME", self.decoder_threads
        return container, stream

    def _open_container(self) -> InputContainer:
        """On the device; without it if it fails, because another process may have all of it."""
        hwaccel = None if self.device is None else HWAccel(self.device)
        try:
            return av.open(
                str(self.path),
                mode="r",
                timeout=self._patience.limit_s,
                hwaccel=hwaccel,
                container_options={"protocol_whitelist": "file"},
            )
        except av.error.FFmpegError:
            if self.device is None:
                raise
            self.device = None
            return self._open_container()

    def _read(self) -> Iterator[VideoPacket]:
        self._at_start = False
        while True:
            try:
                for packet in self.container.demux(self.stream):
                    self._patience.sign_of_life()
                    if packet.size:
                        yield packet
            except IndexError:  # PyAV meets a stream that the file did not have at its start
                continue
            except av.error.ExitError as error:
                raise self._patience.stalled() from error
            return

    def _row(self, packet: VideoPacket) -> PacketRow:
        pts = packet.pts if self._has_pts else None
        return PacketRow(
            pts, packet.dts, packet.pos, packet.size, packet.is_keyframe, packet.is_discard
        )

    def _landed_at_or_before(self, number: int) -> Iterator[tuple[int, VideoPacket]]:
        """Numbered packets from some place at or before ``number``."""
        for stamp in self._seek_stamps(number):
            packets = self._numbered_after_seek(stamp)
            first = next(packets, None)
            if first is not None and first[0] <= number:
                yield first
                yield from packets
                return
        yield from self._numbered(self._read_from_start())

    def _numbered_after_seek(self, stamp: int) -> Iterator[tuple[int, VideoPacket]]:
        try:
            self.container.seek(stamp, stream=self.stream)
        except av.error.FFmpegError:
            return
        yield from self._numbered(self._read())

    def _seek_stamps(self, number: int) -> Iterator[int]:
        """Where to seek for a key packet: its own stamps, then those of earlier key packets."""
        behind = bisect_right(self._keys, number)
        for key in reversed(self._keys[max(0, behind - SEEK_TRIES) : behind]):
            row = self.rows[key]
            stamps = [stamp for stamp in (row.pts, row.dts) if stamp is not None]
            yield from dict.fromkeys(stamps)

    def _numbered(self, packets: Iterator[VideoPacket]) -> Iterator[tuple[int, VideoPacket]]:
        for packet in packets:
            number = self._numbers.get(_identity(self._row(packet)))
            if number is not None:
                yield number, packet

    def _read_from_start(self) -> Iterator[VideoPacket]:
        """Open anew, unless nothing was read yet: not every format can seek to its start."""
        if not self._at_start:
            self._reopen()
        return self._read()


def _identity(row: PacketRow) -> tuple[int | None, int, int | None]:
    """What stays equal after a seek: place and size, and the stamp that tells repeats apart.

    Decoding stamps do not: demuxers derive them anew after a seek.
    """
    return row.position, row.size, row.pts


def _check_regular(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise SourceNotFoundError(f"Video file not found: {path} ({error.strerror})") from error
    if not stat.S_ISREG(mode):
        raise SourceOpenError(f"{path} is not a regular file", hint="Give a video file's path.")


def _video_stream(container: InputContainer, path: Path) -> VideoStream:
    """The first video stream that is no cover picture, all other streams switched off."""
    if container.format.name in NO_VIDEO_FORMATS:
        raise SourceOpenError(f"{path} is not a video")
    stills = av.stream.Disposition.attached_pic
    videos = [s for s in container.streams.video if not s.disposition & stills]
    if not videos:
        raise SourceOpenError(f"{path} holds no video stream")
    for other in container.streams:
        other.discard = av.stream.Discard.default if other is videos[0] else av.stream.Discard.all
    stream = videos[0]
    if stream.codec_context is None:
        raise SourceOpenError(f"{path}: FFmpeg has no decoder for its video")
    if not 0 < stream.width * stream.height <= MAX_PIXELS:
        raise SourceOpenError(f"{path} claims pictures of {stream.width}x{stream.height}")
    return stream


def assumed_rate(stream: VideoStream) -> Fraction:
    """Frames per second for streams without any times: the codec's word, else FFmpeg's guess.

    A stream of variable rate names its clock's ticks as its rate, which is no camera's.
    """
    rates: tuple[Any, ...] = (stream.codec_context.framerate, stream.average_rate)
    return next((Fraction(r) for r in rates if r and r <= MAX_ASSUMED_HZ), DEFAULT_RATE)
