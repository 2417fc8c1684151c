"""The FFmpeg run that turns one stream connection into segment files, as an argument list.

The stream's time stamp is its slot (time base Δ), and ``-copyts`` keeps it, so that times in the
files are slot·Δ from t0. FFmpeg cuts at multiples of the segment length K counted from the part's
*first* frame, at the first key frame not before ``(k+1)·K - segment_time_delta``. A part may begin
anywhere in a segment; setting the delta to what lies before its first frame (and half a period for
rounding) puts every cut on a multiple of K counted from t0. So file k of every camera holds the
slots [k·K, (k+1)·K). If a gap swallows a whole segment, FFmpeg catches up with short files, and
numbers no longer tell slots: the evidence, never the name, says which slots a file holds.
"""

import shutil
from fractions import Fraction

import imageio_ffmpeg

from capture_protocol import EnvironmentLackError, InputError, SegmentName, SessionPlan

US_PER_S = 1_000_000
CLUSTER_MS = 200
"""Matroska cluster length: a killed FFmpeg loses at most what is in an open cluster."""
PROBE_BYTES = 32
"""NUT's header says everything; FFmpeg need not read ahead (and must not drop what it read)."""


def find_ffmpeg(configured: str) -> str:
    """Path of the FFmpeg to run.

    Raises:
        EnvironmentLackError: there is none at the configured path, or no bundled one.
    """
    try:
        path = configured or imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:
        raise EnvironmentLackError(
            f"no FFmpeg: {error}", hint="install one and name it in rig.toml: segmenter.ffmpeg"
        ) from error
    found = shutil.which(path)
    if found is None:
        raise EnvironmentLackError(
            f"FFmpeg {path} does not exist or is not executable",
            hint="correct segmenter.ffmpeg in rig.toml, or leave it empty for the bundled one",
        )
    return found


def segmenter_arguments(
    ffmpeg: str, plan: SessionPlan, camera: str, part: int, first_slot: int
) -> list[str]:
    """Arguments of the FFmpeg run of one part; it must be started in the camera's video folder.

    Args:
        ffmpeg: path of FFmpeg.
        plan: the session's plan.
        camera: the camera's name.
        part: number of the part.
        first_slot: first slot of the stream, from BEGIN.
    """
    first_segment, slots_before = divmod(first_slot, plan.segment_slots)
    delta_s = (slots_before + Fraction(1, 2)) / plan.rate
    name = str(SegmentName(plan.session, camera, part, 0, plan.container))
    return [
        *(ffmpeg, "-hide_banner", "-nostdin", "-loglevel", "error", "-copyts"),
        *("-probesize", str(PROBE_BYTES), "-analyzeduration", "0"),
        *("-f", "nut", "-i", "pipe:0", "-map", "0:v", "-c", "copy", "-f", "segment"),
        *("-segment_time", _seconds(plan.segment_slots / plan.rate)),
        *("-segment_time_delta", _seconds(delta_s)),
        *_container_options(plan.container),
        *("-segment_start_number", str(first_segment), name.replace("_s000000.", "_s%06d.")),
    ]


def check_numbering(plan: SessionPlan, first_slot: int) -> None:
    """Refuse a first slot whose segment number does not fit its six digits.

    Raises:
        InputError: it does not; such a session would have lasted for months.
    """
    if first_slot // plan.segment_slots > 999_999:
        raise InputError(f"slot {first_slot} lies beyond the last segment number")


def _container_options(container: str) -> tuple[str, ...]:
    if container == "nut":
        return ("-segment_format", "nut", "-segment_format_options", "flush_packets=1")
    options = f"cluster_time_limit={CLUSTER_MS}:flush_packets=1"
    return ("-segment_format", "matroska", "-segment_format_options", options)


def _seconds(exact: Fraction) -> str:
    """A duration for FFmpeg, which reads whole microseconds; rounded to the nearest."""
    return f"{round(exact * US_PER_S)}us"
