"""A hardware decoder, where a device for it really opens."""

from __future__ import annotations

from functools import cache

import av
from av.codec.hwaccel import HWAccel, hwdevices_available
from av.video.codeccontext import VideoCodecContext

PROBED_CODECS = ("h264", "hevc")
SOFTWARE = "software"


@cache
def hardware_device() -> str | None:
    """Kind of the first device that opens for a common codec; None if none does.

    FFmpeg lists what it was built with, not what the machine has: only opening tells. Asked once
    per process.
    """
    for device in hwdevices_available():
        if any(_opens(device, codec) for codec in PROBED_CODECS):
            return device
    return None


def decoder_name(codec: VideoCodecContext, device: str | None) -> str:
    """What decodes: the kind of device, or "software".

    Codecs and profiles that a device does not know fall back by themselves; after the first picture
    the decoder's pixel format tells.
    """
    on_device = {config.format.name for config in codec.codec.hardware_configs if config.format}
    used = codec.is_hwaccel and codec.pix_fmt in on_device
    return device if device is not None and used else SOFTWARE


def _opens(device: str, codec: str) -> bool:
    try:
        HWAccel(device).create(av.Codec(codec, "r"))
    except (av.error.FFmpegError, NotImplementedError):
        return False
    return True
