"""A hardware decoder, where a device for it really opens."""

from __future__ import annotations

from functools import cache

import av
from av.codec.hwaccel import HWAccel, hwdevices_available

PROBED_CODECS = ("h264", "hevc")


@cache
def hardware_decoder() -> HWAccel | None:
    """The first device that opens for a common codec; None if none does.

    FFmpeg lists what it was built with, not what the machine has: only opening tells. Streams that
    the device cannot decode fall back to software by themselves.
    """
    for device in hwdevices_available():
        if any(_opens(device, codec) for codec in PROBED_CODECS):
            return HWAccel(device, allow_software_fallback=True)
    return None


def _opens(device: str, codec: str) -> bool:
    try:
        HWAccel(device).create(av.Codec(codec, "r"))
    except (av.error.FFmpegError, NotImplementedError):
        return False
    return True
