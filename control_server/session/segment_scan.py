"""What a segment file holds, read from its packets alone: nothing is decoded."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TypeAlias

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from capture_protocol import Codec, FrameRecord, InputError, length_prefix_size, read_evidence
from capture_protocol.frame import FRAME_DTYPE
from capture_protocol.grid import NS_PER_S
from capture_protocol.nal import split_annex_b, split_length_prefixed

VideoPacket: TypeAlias = "Packet[VideoStream]"
NO_CONTAINER_TIME = -1
"""`SegmentScan.container_ns` of a packet without a time stamp; slots start at time 0."""


@dataclass(frozen=True, slots=True)
class SegmentScan:
    """The frames of one segment file, in file order.

    All arrays have one entry per picture that carries evidence, so they are as long as `frames`
    less `without_evidence`.
    """

    path: Path
    codec: Codec | None
    """None where nothing of the file could be read."""
    records: npt.NDArray[np.void]
    """Frame records, `FRAME_DTYPE`."""
    sizes: npt.NDArray[np.uint32]
    """Bytes of each access unit as the container holds it."""
    keys: npt.NDArray[np.bool_]
    """Whether the container calls it a key frame."""
    container_ns: npt.NDArray[np.int64]
    """Time stamp in the container (ns since t0), rounded half up; `NO_CONTAINER_TIME` if none."""
    frames: int
    """Packets with a picture."""
    without_evidence: int
    """Of these, packets whose picture carries no whole frame record."""
    damaged: str
    """What could not be read, empty if the whole file could."""

    @property
    def slots(self) -> npt.NDArray[np.uint64]:
        """Slot numbers, as the evidence claims them."""
        slots: npt.NDArray[np.uint64] = self.records["slot"]
        return slots

    @property
    def pts_slots(self) -> npt.NDArray[np.float64]:
        """Slots according to the container's time stamps; the fraction is the container's error."""
        rate = self.records["rate_num"] / self.records["rate_den"]
        return np.asarray(self.container_ns * rate / NS_PER_S, np.float64)


def scan_segment(path: Path) -> SegmentScan:
    """Read the evidence of every packet of a segment.

    A truncated or damaged file is normal after a kill: what is readable is returned, and
    `damaged` says what was wrong.

    Raises:
        InputError: there is no such file.
    """
    if not path.is_file():
        raise InputError(f"segment {path} does not exist")
    found = _Findings()
    try:
        with av.open(path, metadata_errors="replace") as container:
            _scan_packets(container, found)
    except av.FFmpegError as error:
        found.damaged = found.damaged or f"cannot be read further: {error.strerror}"
    return found.result(path)


class _Findings:
    """Collects what the packets hold; a damaged file leaves it with what came before."""

    def __init__(self) -> None:
        self.codec: Codec | None = None
        self.records: list[bytes] = []
        self.sizes: list[int] = []
        self.keys: list[bool] = []
        self.times_ns: list[int] = []
        self.without_evidence = 0
        self.damaged = ""

    def add(self, packet: VideoPacket, record: FrameRecord) -> None:
        self.records.append(record.pack())
        self.sizes.append(packet.size)
        self.keys.append(packet.is_keyframe)
        self.times_ns.append(time_ns(packet))

    def result(self, path: Path) -> SegmentScan:
        return SegmentScan(
            path,
            self.codec,
            np.frombuffer(b"".join(self.records), FRAME_DTYPE),
            np.array(self.sizes, np.uint32),
            np.array(self.keys, np.bool_),
            np.array(self.times_ns, np.int64),
            len(self.records) + self.without_evidence,
            self.without_evidence,
            self.damaged,
        )


def _scan_packets(container: InputContainer, found: _Findings) -> None:
    stream = next(iter(container.streams.video), None)
    found.codec = video_codec(stream)
    if stream is None or found.codec is None:
        found.damaged = "holds no H.264 or H.265 video"
        return
    prefix = length_prefix_size(found.codec, stream.codec_context.extradata)
    for packet in container.demux(stream):
        if packet.is_corrupt:
            found.damaged = "ends in the middle of a frame"
        elif packet.size:
            _scan_unit(packet, found, found.codec, prefix)


def _scan_unit(packet: VideoPacket, found: _Findings, codec: Codec, prefix: int | None) -> None:
    unit = bytes(packet)
    if not has_picture(unit, codec, prefix):
        found.damaged = "holds a packet without a whole picture"
        return
    try:
        record = read_evidence(unit, codec, prefix)
    except InputError as error:
        record, found.damaged = None, str(error)
    if record is None:
        found.without_evidence += 1
    else:
        found.add(packet, record)


def video_codec(stream: VideoStream | None) -> Codec | None:
    """The codec of a stream, or None if it is none that carries evidence."""
    if stream is None or stream.codec_context is None:
        return None
    names = {codec.value: codec for codec in Codec}
    return names.get(stream.codec_context.name)


def has_picture(unit: bytes, codec: Codec, prefix: int | None) -> bool:
    """Whether an access unit holds a slice that is there from begin to end."""
    return any(codec.is_picture(unit[begin]) for begin, _ in _nal_units(unit, prefix))


def _nal_units(unit: bytes, prefix: int | None) -> Iterator[tuple[int, int]]:
    return split_annex_b(unit) if prefix is None else split_length_prefixed(unit, prefix)


def time_ns(stamped: "VideoPacket | VideoFrame") -> int:
    """Container time of a packet or of its decoded picture (ns), `NO_CONTAINER_TIME` if none."""
    if stamped.pts is None or stamped.time_base is None:
        return NO_CONTAINER_TIME
    exact: Fraction = stamped.pts * stamped.time_base * NS_PER_S
    return (2 * exact.numerator + exact.denominator) // (2 * exact.denominator)
