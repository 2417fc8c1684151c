"""What a user asks a synchronizer for, checked before anything is opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from capture_protocol.errors import InputError
from multiview.live._connection import LiveOptions

MAX_CAMERAS = 64
"""Each takes a thread, a decoder and up to 128 MB; more is a mistake."""


def check_request(
    cams: Sequence[Mapping[str, str]],
    max_offset: float,
    max_errors: int,
    maxsize: int,
    max_lateness_s: float,
) -> None:
    """Raise InputError for parameters that make no sense; see StreamSynchronizer."""
    if not 1 <= len(cams) <= MAX_CAMERAS:
        raise InputError(f"give 1 to {MAX_CAMERAS} cameras, not {len(cams)}")
    for number, cam in enumerate(cams):
        if not isinstance(cam, Mapping) or not isinstance(cam.get("source"), str):
            raise InputError(
                f"camera {number} has no source",
                hint='Write each camera as {"source": "rtsp://host/path"}.',
            )
    if not 0 < max_offset < float("inf"):
        raise InputError(f"max_initial_stream_offset is a positive time, not {max_offset} s")
    if not 0 <= max_lateness_s < float("inf"):
        raise InputError(f"max_lateness_s is a time, not {max_lateness_s} s")
    if max_errors < 0:
        raise InputError(f"max_read_errors is 0 or more, not {max_errors}")
    if maxsize != -1 and maxsize < 1:
        raise InputError(f"frame_packet_buffer_maxsize is -1 or at least 1, not {maxsize}")


def camera_options(cam: Mapping[str, str], options: LiveOptions) -> LiveOptions:
    """The options of one camera, with the transport that it asks for."""
    return options if "transport" not in cam else replace(options, transport=cam["transport"])
