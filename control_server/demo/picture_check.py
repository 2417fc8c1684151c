"""Does a recording of known footage show that footage? PSNR of decoded slots against the source.

Only for cameras that play a file at the rig's rate, where slot n shows picture n modulo the
file's length; a quality check of the whole chain (encoder, stream, segmenter) on real pictures.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from capture_protocol import InputError, SessionFolder
from control_server.session.segment_scan import scan_segment

Luma = npt.NDArray[np.uint8]
PEAK = 255.0
IDENTICAL_DB = 99.0
"""Reported for pictures without any difference, whose PSNR is infinite."""


def psnr_db(one: Luma, other: Luma) -> float:
    """Peak signal-to-noise ratio of two luma planes of one shape, in dB (ITU-T J.340)."""
    error = np.mean((one.astype(np.float32) - other.astype(np.float32)) ** 2)
    return IDENTICAL_DB if error == 0 else float(10 * np.log10(PEAK**2 / error))


def picture_psnr_db(folder: SessionFolder, source: Path, every: int = 10) -> dict[str, float]:
    """Lowest PSNR of each camera, over every ``every``-th slot.

    Args:
        folder: a session whose cameras played ``source`` from its first picture on.
        source: the footage.
        every: which share of the slots to compare.

    Raises:
        InputError: the source holds no picture, or a camera recorded none.
    """
    worst: dict[str, float] = {}
    pictures: list[Luma] = []
    for camera in folder.read_plan().cameras:
        recorded = [item for item in _slots(folder, camera.name) if item[0] % every == 0]
        pictures = pictures or _first_lumas(source, recorded[-1][0] + 1 if recorded else 1)
        values = [psnr_db(luma, pictures[slot % len(pictures)]) for slot, luma in recorded]
        if not values:
            raise InputError(f"camera {camera.name} recorded no picture")
        worst[camera.name] = min(values)
    return worst


def _slots(folder: SessionFolder, camera: str) -> Iterator[tuple[int, Luma]]:
    """(slot, luma) of all pictures of a camera, in file order."""
    for path in folder.segments(camera):
        yield from zip(scan_segment(path).slots.tolist(), _lumas(path), strict=False)


def _first_lumas(source: Path, count: int) -> list[Luma]:
    lumas = list(itertools.islice(_lumas(source), count))
    if not lumas:
        raise InputError(f"{source} holds no picture")
    return lumas


def _lumas(path: Path) -> Iterator[Luma]:
    """The luma plane of every picture of a video file."""
    try:
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                luma = frame.to_ndarray(format="yuv420p")[: frame.height]
                yield np.ascontiguousarray(luma, np.uint8)
    except av.FFmpegError as error:
        raise InputError(f"{path} cannot be decoded: {error}") from error
