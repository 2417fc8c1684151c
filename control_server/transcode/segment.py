"""One segment from H.264 to H.265: same slots, times and key frames, evidence carried over."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from capture_protocol import Codec, FrameFlag, FrameRecord, TuttiError, evidence_nal, splice
from control_server.session.segment_scan import SegmentScan, scan_segment, time_ns
from control_server.transcode.encoder import EncoderChoice

MIN_PSNR_DB = 20.0
"""Below this, two pictures do not show the same scene; coarse quantisation stays above it."""
FORMATS = {".mkv": "matroska", ".nut": "nut"}

FrameDone = Callable[[], None]


class TranscodeError(TuttiError):
    """A segment could not be transcoded faithfully; the original is untouched."""


@dataclass(frozen=True, slots=True)
class _Stamp:
    """What a picture takes along from its H.264 packet."""

    pts: int
    key: bool
    record: FrameRecord | None


def transcode_segment(
    source: Path, target: Path, choice: EncoderChoice, rate: Fraction, done: FrameDone
) -> None:
    """Write ``target`` as H.265; whether it is faithful, `verify_segment` says.

    Args:
        source: a segment with at least one picture.
        target: is overwritten.
        choice: the encoder.
        rate: frames per second.
        done: called after every picture.

    Raises:
        TranscodeError: the encoder reorders pictures or invents some.
        av.FFmpegError: a file cannot be decoded, encoded or written.
    """
    scan = scan_segment(source)
    container = FORMATS[target.suffix]
    with av.open(source) as reader, av.open(target, "w", format=container) as writer:
        original = reader.streams.video[0]
        size = original.codec_context.width, original.codec_context.height
        stream = choice.add_stream(writer, *size, rate)
        stream.time_base = original.time_base
        copy_colours(original.codec_context, stream.codec_context)
        pipe = _Pipe(writer, stream, original.time_base or 1 / rate)
        for frame, stamp in _stamped_pictures(reader, original, scan):
            pipe.push(frame, stamp)
            done()
        pipe.finish()


def verify_segment(source: Path, target: Path) -> float:
    """Check that a transcoded segment tells and shows the same; returns the lowest PSNR, dB.

    Raises:
        TranscodeError: a picture, a slot, a time stamp, a key frame or a bit of evidence differs.
        av.FFmpegError: a file cannot be decoded.
    """
    old, new = scan_segment(source), scan_segment(target)
    for what, same in (
        ("codec than H.265", new.codec is Codec.H265),
        ("number of pictures", new.frames == old.frames),
        ("evidence", new.records.tobytes() == old.records.tobytes()),
        ("set of key frames", np.array_equal(new.keys, old.keys)),
        ("time stamps", np.array_equal(new.container_ns, old.container_ns)),
    ):
        if not same:
            raise TranscodeError(
                f"{source.name}: the transcoded file has another {what}",
                hint="see whether the original is whole with: manager audit --deep",
            )
    return _verify_pictures(source, target, old.frames)


def psnr_db(left: VideoFrame, right: VideoFrame) -> float:
    """Peak signal-to-noise ratio of two pictures' luma, dB; infinite where they are equal."""
    a, b = (frame.to_ndarray(format="gray").astype(np.int32) for frame in (left, right))
    error = float(np.mean(np.square(a - b)))
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def copy_colours(source: VideoCodecContext, target: VideoCodecContext) -> None:
    """What says how the numbers of a picture are meant."""
    target.color_range = source.color_range
    target.colorspace = source.colorspace
    target.color_primaries = source.color_primaries
    target.color_trc = source.color_trc


def _verify_pictures(source: Path, target: Path, frames: int) -> float:
    lowest, compared = math.inf, 0
    with av.open(source) as old, av.open(target) as new:
        for left, right in zip(old.decode(video=0), new.decode(video=0), strict=False):
            lowest = min(lowest, psnr_db(left, right))
            compared += 1
    if compared != frames:
        raise TranscodeError(f"{source.name}: only {compared} of {frames} pictures decode")
    if lowest < MIN_PSNR_DB:
        raise TranscodeError(f"{source.name}: a transcoded picture differs ({lowest:.1f} dB)")
    return lowest


def _stamped_pictures(
    reader: InputContainer, stream: VideoStream, scan: SegmentScan
) -> Iterator[tuple[VideoFrame, _Stamp]]:
    """Decoded pictures with the pts, key flag and evidence of their own packets."""
    records = {
        int(at_ns): FrameRecord.unpack(record.tobytes())
        for at_ns, record in zip(scan.container_ns, scan.records, strict=True)
    }
    keys: dict[int, bool] = {}
    for packet in reader.demux(stream):
        if packet.is_corrupt:
            continue
        if packet.pts is not None:
            keys[packet.pts] = packet.is_keyframe
        for frame in packet.decode():
            if frame.pts is None:
                raise TranscodeError(f"{scan.path.name} holds a picture without a time stamp")
            record = records.get(time_ns(frame))
            yield frame, _Stamp(frame.pts, keys.pop(frame.pts), record)


class _Pipe:
    """Encoder and muxer; every packet gets the stamp of the picture it was made from."""

    def __init__(self, writer: OutputContainer, stream: VideoStream, time_base: Fraction) -> None:
        self._writer = writer
        self._stream = stream
        self._time_base = time_base
        self._stamps: dict[int, _Stamp] = {}
        self._pushed = 0

    def push(self, frame: VideoFrame, stamp: _Stamp) -> None:
        """Encode one picture; its number stands for it until its packet comes out."""
        frame = frame.reformat(format=self._stream.codec_context.pix_fmt)
        frame.pts, frame.time_base = self._pushed, self._stream.codec_context.time_base
        frame.pict_type = PictureType.I if stamp.key else PictureType.NONE
        self._stamps[self._pushed] = stamp
        self._pushed += 1
        self._mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Write what the encoder still holds."""
        if self._pushed:
            self._mux(self._stream.encode(None))

    def _mux(self, packets: "list[Packet[VideoStream]]") -> None:
        for packet in packets:
            stamp = self._stamps.pop(-1 if packet.pts is None else packet.pts, None)
            if stamp is None:
                raise TranscodeError(f"{self._stream.name} gave a packet of no known picture")
            unit = Packet(_with_evidence(bytes(packet), stamp.record))
            unit.stream, unit.time_base = self._stream, self._time_base
            unit.pts = unit.dts = stamp.pts
            unit.is_keyframe = packet.is_keyframe
            self._writer.mux(unit)


def _with_evidence(unit: bytes, record: FrameRecord | None) -> bytes:
    if record is None:
        return unit
    locked = not record.flags & FrameFlag.UNSYNCHRONISED  # as the agent wrote it
    nal = evidence_nal(record.pack(), record.midpoint_ns, locked=locked, codec=Codec.H265)
    return splice(unit, nal, Codec.H265)
