"""H.264 without delay: one picture in, one access unit out."""

from fractions import Fraction

import av
from av.video.frame import PictureType, VideoFrame

from capture_protocol.errors import TuttiError

_X264_OPTIONS = {
    "preset": "ultrafast",
    "tune": "zerolatency",
    "forced-idr": "1",  # a picture asked for as I becomes an IDR: a place to start and to cut
    "x264-params": "keyint=infinite:scenecut=0:repeat-headers=1",  # key frames only where asked
}
_BUFFER_S = 1  # rate control may save up this much


class EncoderError(TuttiError):
    """The encoder failed on a picture."""


class Encoder:
    """libx264, ultrafast, zero latency, one thread. Annex B with SPS and PPS at every key frame."""

    def __init__(self, width: int, height: int, rate: Fraction, bitrate_kbps: int) -> None:
        context = av.CodecContext.create("libx264", "w")
        context.width, context.height, context.pix_fmt = width, height, "yuv420p"
        context.time_base = 1 / rate
        context.framerate = rate
        context.bit_rate = bitrate_kbps * 1000
        context.thread_count = 1
        limits = {"maxrate": f"{bitrate_kbps}k", "bufsize": f"{bitrate_kbps * _BUFFER_S}k"}
        context.options = {**_X264_OPTIONS, **limits}
        self._context = context

    def encode(self, picture: VideoFrame, slot: int, *, key: bool) -> bytes:
        """The access unit of a picture.

        Args:
            picture: yuv420p of the encoder's size.
            slot: its slot; must ascend.
            key: make it a key frame.

        Raises:
            EncoderError: it gave nothing, or more than one access unit.
        """
        picture.pts = slot
        picture.time_base = self._context.time_base
        picture.pict_type = PictureType.I if key else PictureType.NONE
        try:
            packets = self._context.encode(picture)
        except av.FFmpegError as error:
            raise EncoderError(f"the encoder refused slot {slot}: {error}") from error
        if len(packets) != 1:
            raise EncoderError(f"the encoder gave {len(packets)} access units for slot {slot}")
        return bytes(packets[0])
