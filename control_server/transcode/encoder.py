"""Which H.265 encoder this machine has: a hardware one if it opens, else libx265."""

import io
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.codec.hwaccel import HWAccel
from av.container import OutputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from capture_protocol import EnvironmentLackError

SOFTWARE = "libx265"
_X265 = "keyint=-1:min-keyint=1:scenecut=0:bframes=0:open-gop=0:info=0:log-level=error"
"""Key frames only where they are asked for, no reordering, no message of the encoder itself."""

_HARDWARE: dict[str, dict[str, str]] = {
    "hevc_nvenc": {"rc": "vbr", "cq": "{quality}", "bf": "0", "forced-idr": "1"},
    "hevc_qsv": {"global_quality": "{quality}", "bf": "0", "forced_idr": "1"},
    "hevc_vaapi": {"rc_mode": "CQP", "qp": "{quality}", "bf": "0"},
    "hevc_videotoolbox": {},
    "hevc_v4l2m2m": {},
}
"""Encoders in order of preference, with the options that come nearest to a constant quality."""
_NEEDS_DEVICE = {"hevc_vaapi": "vaapi"}
"""Encoders that take pictures only in their device's memory."""

_LONGEST_GROUP = 2**30
"""No key frames of the encoder's own: longer than any segment."""
_PROBE_SIZE = 320, 240


@dataclass(frozen=True, slots=True)
class EncoderChoice:
    """An encoder and how it is to be run."""

    name: str
    crf: int
    """Constant quality in libx265's scale, 0 (best) to 51."""
    preset: str
    """libx265's speed; hardware encoders have no such choice."""

    def add_stream(
        self, writer: OutputContainer, width: int, height: int, rate: Fraction
    ) -> VideoStream:
        """A stream of the container with a fresh encoder; its pictures' time base is one slot.

        Raises:
            av.FFmpegError: the encoder or its device does not open.
        """
        device = _NEEDS_DEVICE.get(self.name)
        hwaccel = HWAccel(device_type=device) if device else None
        stream = writer.add_stream(self.name, rate=rate, hwaccel=hwaccel)
        if not isinstance(stream, VideoStream):
            raise EnvironmentLackError(f"{self.name} is no video encoder")
        encoder = stream.codec_context
        encoder.width, encoder.height = width, height
        encoder.pix_fmt = _pixel_format(encoder)
        encoder.time_base = 1 / rate
        encoder.gop_size = _LONGEST_GROUP
        encoder.max_b_frames = 0
        encoder.options = self._options()
        return stream

    def _options(self) -> dict[str, str]:
        if self.name == SOFTWARE:
            quality = {"crf": str(self.crf), "preset": self.preset}
            return {**quality, "forced-idr": "1", "x265-params": _X265}
        options = _HARDWARE[self.name]
        return {key: value.format(quality=self.crf) for key, value in options.items()}


def choose_encoder(crf: int, preset: str, *, hardware: bool = True) -> EncoderChoice:
    """The first encoder that really encodes a picture here.

    FFmpeg lists encoders on machines that lack their hardware, so each is tried.

    Raises:
        EnvironmentLackError: not even libx265 works.
    """
    for name in [*(_HARDWARE if hardware else ()), SOFTWARE]:
        choice = EncoderChoice(name, crf, preset)
        if _works(choice):
            return choice
    raise EnvironmentLackError(
        "no H.265 encoder works on this machine, or not with this --preset",
        hint="presets are libx265's: ultrafast, veryfast, fast, medium, slow, veryslow",
    )


def _works(choice: EncoderChoice) -> bool:
    width, height = _PROBE_SIZE
    picture = VideoFrame.from_ndarray(np.zeros((height * 3 // 2, width), np.uint8), "yuv420p")
    picture.pts = 0
    try:
        with av.open(io.BytesIO(), "w", format="matroska") as writer:
            stream = choice.add_stream(writer, width, height, Fraction(30))
            picture = picture.reformat(format=stream.codec_context.pix_fmt)
            return bool([*stream.encode(picture), *stream.encode(None)])
    except (av.FFmpegError, ValueError, NotImplementedError):
        return False  # unknown in this FFmpeg, no such device, or a refused option


def _pixel_format(encoder: VideoCodecContext) -> str:
    known = [found.name for found in encoder.codec.video_formats or ()]
    return next((name for name in ("yuv420p", "nv12") if name in known), "yuv420p")
