"""Live streams of several cameras as packets of frames that were taken together."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from multiview._released import Released
from multiview.errors import SourceClosedError, SourceError, SourceStalledError
from multiview.live._camera import Camera
from multiview.live._connection import LiveFrame, LiveOptions, StreamInfo
from multiview.live._errors import StreamProcessingError
from multiview.live._feed import CameraFeed, hang_up
from multiview.live._matcher import Match, Matcher, Timed
from multiview.live._packet import FramePacket, FrameStatus, frame_data, no_frame
from multiview.live._packet_buffer import PacketBuffer
from multiview.live._request import camera_options, check_request
from multiview.live._sender_clock import ClockFinding
from multiview.sources import NS_PER_S

WAITING_BYTES = 128 << 20
"""Decoded frames of one camera that wait for the others': 1.3 s of 1080p at 30 fps."""
POLL_S = 0.02
"""How often a waiting reader looks whether a camera is overdue."""
LOST_PACKET_S = 1.0
"""Between packets when no camera is there at all."""


@dataclass(frozen=True, slots=True)
class _Port:
    """Where one camera's feed delivers."""

    synchronizer: StreamSynchronizer
    number: int

    def on_connected(self, info: StreamInfo) -> None:
        self.synchronizer._connected(self.number, info)

    def on_frame(self, frame: LiveFrame) -> None:
        self.synchronizer._took(self.number, frame)

    def on_failure(self, error: SourceError) -> None:
        self.synchronizer._failed(self.number, error)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A packet before its pictures are converted, which only fetched ones are."""

    tick_ns: int
    frames: tuple[LiveFrame | FrameStatus, ...]

    def convert(self) -> FramePacket:
        parts = {
            number: no_frame(part) if isinstance(part, FrameStatus) else frame_data(part)
            for number, part in enumerate(self.frames)
        }
        return FramePacket(self.tick_ns, parts)

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes for part in self.frames if isinstance(part, LiveFrame))


class StreamSynchronizer(Released):
    """Reads live streams and gives out frames that were captured together.

    Args:
        cams: one mapping per camera: "source", its URL (RTSP for capture times, any other live
            URL for arrival times), and perhaps "transport" ("tcp" or "udp").
        max_initial_stream_offset: how far (s) the cameras' times may be apart for frames that
            arrive together. Farther: StreamProcessingError at the start; a camera that comes back
            so far off is left out as CAP_BROKEN.
        max_read_errors: after more failed reads in a row a camera is CAP_BROKEN, until a read
            succeeds: reconnecting goes on.
        frame_packet_buffer_maxsize: packets that wait to be fetched; the oldest give way.
            -1 bounds them by memory only (1 GiB).
        options: time limits and transport for all cameras.
        max_lateness_s: how much later than usual a frame may come before its packet goes without.

    Streams are read from construction on, by one thread per camera. Use as a context manager,
    or call ``release``. Raises InputError for parameters that make no sense.
    """

    def __init__(
        self,
        cams: Sequence[Mapping[str, str]],
        max_initial_stream_offset: float = 1.0,
        max_read_errors: int = 5,
        frame_packet_buffer_maxsize: int = 5,
        *,
        options: LiveOptions | None = None,
        max_lateness_s: float = 0.5,
    ) -> None:
        check_request(
            cams,
            max_initial_stream_offset,
            max_read_errors,
            frame_packet_buffer_maxsize,
            max_lateness_s,
        )
        self._max_offset_ns = round(max_initial_stream_offset * NS_PER_S)
        self._matcher: Matcher[LiveFrame] = Matcher(len(cams), round(max_lateness_s * NS_PER_S))
        self._packets: PacketBuffer[_Waiting] = PacketBuffer(frame_packet_buffer_maxsize)
        self._changed = threading.Condition()
        self._started = False
        self._closed = False
        self._failure: StreamProcessingError | None = None
        self._last_packet_s = time.monotonic()
        self._cameras = [Camera(max_read_errors) for _ in cams]
        self._feeds = [
            CameraFeed(
                cam["source"], _Port(self, number), camera_options(cam, options or LiveOptions())
            )
            for number, cam in enumerate(cams)
        ]
        for feed in self._feeds:
            feed.start()

    def get_frame_packet(self, timeout: float | None = None) -> FramePacket:
        """The next packet; waits until there is one, or for ``timeout`` seconds.

        Raises StreamProcessingError if the streams are too far apart, SourceStalledError when the
        time is over, SourceClosedError after ``release``.
        """
        deadline_s = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            self._check_usable()
            while not len(self._packets):
                if deadline_s is not None and time.monotonic() > deadline_s:
                    raise SourceStalledError(f"no packet within {timeout} s")
                self._changed.wait(POLL_S)
                self._form_packets()
                self._check_usable()
            waiting = self._packets.get()
        return waiting.convert()

    def __iter__(self) -> Iterator[FramePacket]:
        """Packet after packet, until ``release``."""
        while not self._closed:
            try:
                yield self.get_frame_packet()
            except SourceClosedError:
                return

    @property
    def overwritten(self) -> int:
        """How many packets gave way because they were not fetched in time."""
        return self._packets.overwritten

    @property
    def waiting(self) -> int:
        """How many decoded pictures wait now: for the other cameras' or to be fetched."""
        with self._changed:
            fetchable = len(self._packets) * len(self._cameras)
            return fetchable + sum(len(lane.frames) for lane in self._matcher.lanes)

    @property
    def clock_findings(self) -> dict[int, tuple[ClockFinding, ...]]:
        """By camera: contradictions between its sender reports since it connected."""
        return {number: feed.findings for number, feed in enumerate(self._feeds)}

    @property
    def failures(self) -> dict[int, str]:
        """By camera: why it is not OKAY at the moment; empty for a camera that is."""
        return {number: camera.reason for number, camera in enumerate(self._cameras)}

    def release(self) -> None:
        """Hang up on all cameras; may be called more than once."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        hang_up(*self._feeds)

    def __enter__(self) -> Self:
        return self

    def _connected(self, number: int, info: StreamInfo) -> None:
        with self._changed:
            self._cameras[number].connected()
            picture_bytes = max(1, info.width * info.height * 3 // 2)
            self._matcher.lanes[number].capacity = max(2, WAITING_BYTES // picture_bytes)

    def _took(self, number: int, frame: LiveFrame) -> None:
        with self._changed:
            camera = self._cameras[number]
            is_new_time = camera.took(frame.stamp, frame.damaged)
            if is_new_time:
                self._matcher.restart(number)
            if not camera.excluded:
                times = (frame.arrival_mono_ns, time.monotonic_ns())
                self._matcher.push(number, frame.stamp.time_ns, frame, *times)
            if is_new_time and self._started:
                self._exclude_if_apart(number)
            self._form_packets()

    def _failed(self, number: int, error: SourceError) -> None:
        with self._changed:
            camera = self._cameras[number]
            camera.failed(error)
            if camera.broken or self._matcher.lanes[number].period_ns is None:
                self._matcher.lose(number)  # the others wait no longer
            if not self._is_any_live:
                for other in self._cameras:
                    other.excluded = False  # there is nobody left to be apart from
            self._form_packets()

    @property
    def _is_any_live(self) -> bool:
        return any(lane.live for lane in self._matcher.lanes)

    def _check_usable(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._closed:
            raise SourceClosedError("the streams were released")

    def _form_packets(self) -> None:
        if self._closed or self._failure or not (self._started or self._start()):
            return
        while (match := self._matcher.next_match(time.monotonic_ns())) is not None:
            self._put(_Waiting(match.tick_ns, self._parts(match)))
        silent_s = time.monotonic() - self._last_packet_s
        if silent_s > LOST_PACKET_S and not self._is_any_live:
            self._put(_Waiting(time.time_ns(), tuple(x.status for x in self._cameras)))

    def _start(self) -> bool:
        """Whether all cameras are there or broken; checks their offset once."""
        if not self._matcher.is_complete:
            return False
        self._started = True
        offset_ns = self._matcher.offset_ns()
        if offset_ns > self._max_offset_ns:
            self._failure = StreamProcessingError(
                f"the streams' times are {offset_ns / NS_PER_S:.3f} s apart, more than "
                f"{self._max_offset_ns / NS_PER_S:g} s",
                hint="Let the cameras' clocks follow the same NTP server, or allow a larger "
                "max_initial_stream_offset.",
            )
            self._changed.notify_all()
        return self._failure is None

    def _exclude_if_apart(self, number: int) -> None:
        offset_ns = self._matcher.offset_ns()
        if offset_ns > self._max_offset_ns:
            away = f"its time came back {offset_ns / NS_PER_S:.3f} s away from the others'"
            self._cameras[number].exclude(away)
            self._matcher.lose(number)

    def _parts(self, match: Match[LiveFrame]) -> tuple[LiveFrame | FrameStatus, ...]:
        return tuple(
            _part(camera, timed) for camera, timed in zip(self._cameras, match.frames, strict=True)
        )

    def _put(self, waiting: _Waiting) -> None:
        self._packets.put(waiting, waiting.nbytes)
        self._last_packet_s = time.monotonic()
        self._changed.notify_all()


def _part(camera: Camera, timed: Timed[LiveFrame] | None) -> LiveFrame | FrameStatus:
    if timed is None:
        return camera.status
    return camera.damaged_status if timed.item.damaged else timed.item
