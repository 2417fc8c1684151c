"""Whether a camera's pictures are encoded by the Pi's own codec."""

from pathlib import Path

from capture_protocol.errors import InputError
from capture_protocol.rig import NodeCamera

_SYSFS_NAME = Path("/sys/class/video4linux/video11/name")  # the node that picamera2 opens
_CODEC = "bcm2835-codec-encode"
_LARGEST = 1920 * 1088  # pixels; the codec's limit is level 4.2


def has_hardware_encoder(sysfs_name: Path = _SYSFS_NAME) -> bool:
    """Whether this machine is a Pi with an H.264 encoder."""
    try:
        return sysfs_name.read_text().startswith(_CODEC)
    except OSError:
        return False


def wants_hardware(config: NodeCamera, present: bool) -> bool:
    """Whether to encode in hardware: option ``encoder`` is "auto", "hardware" or "x264".

    Raises:
        InputError: no such choice, or hardware was asked for and cannot do it.
    """
    choice = config.options.get("encoder", "auto")
    fits = config.width * config.height <= _LARGEST
    if choice == "auto":
        return present and fits
    if choice == "hardware" and present and fits:
        return True
    if choice == "x264":
        return False
    if choice != "hardware":
        raise InputError(
            f"camera {config.name}: option encoder is auto, hardware or x264, not {choice!r}"
        )
    fault = "the picture is larger than 1920x1088" if present else "this machine has none"
    raise InputError(
        f"camera {config.name}: no hardware encoder: {fault}", hint='set encoder = "x264"'
    )
