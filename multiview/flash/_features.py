"""What flash detection reads of a video: the mean luminance of every row of every frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from multiview.flash._errors import FlashInputError
from multiview.sources import FileVideoSource

Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]
Progress = Callable[[float], None]

NS_PER_S = 1_000_000_000
MIN_FRAMES = 8  # a flash is judged against three frames before and after it
COARSEST_STEP_NS = 2_000_000


def _no_progress(_: float) -> None:
    pass


@dataclass(frozen=True)
class RowFeatures:
    """Mean luminance per row: K frames of H rows, with the frames' own times."""

    times_ns: Int64
    """K frame times (ns) from the packets, strictly increasing"""
    luminance: Float32
    """K×H mean of the luminance plane (0–255)"""
    time_step_ns: float = 0.0
    """resolution of the container's time stamps (ns); 0 if exact"""

    def __post_init__(self) -> None:
        if self.luminance.shape[:1] != self.times_ns.shape or self.luminance.ndim != 2:
            raise FlashInputError("row features need one time per frame and a row of values each")
        if len(self.times_ns) < MIN_FRAMES:
            raise FlashInputError(
                f"only {len(self.times_ns)} frames: a flash needs at least {MIN_FRAMES} around it"
            )
        if (np.diff(self.times_ns) <= 0).any():
            raise FlashInputError("frame times do not increase")

    @property
    def height(self) -> int:
        """Rows per frame."""
        return int(self.luminance.shape[1])

    @property
    def period_ns(self) -> float:
        """Median time from frame to frame (ns)."""
        return float(np.median(np.diff(self.times_ns)))

    @property
    def duration_ns(self) -> int:
        """From the first frame to the last (ns)."""
        return int(self.times_ns[-1] - self.times_ns[0])

    def upside_down(self) -> RowFeatures:
        """Return the features with the rows in opposite order."""
        return RowFeatures(self.times_ns, self.luminance[:, ::-1], self.time_step_ns)


def extract_features(
    path: Path, progress: Progress = _no_progress, decoder_threads: int | None = None
) -> RowFeatures:
    """Decode a video and average each row of its luminance plane.

    No colour is converted: planar 8-bit luminance is averaged where the decoder left it. Frames
    that cannot be decoded are left out. ``progress`` gets a fraction of 1; ``decoder_threads`` as
    in FileVideoSource.

    Raises SourceOpenError if there is no readable video, FlashInputError if it is too short.
    """
    source = FileVideoSource(path, path.stem, window_s=0.0, decoder_threads=decoder_threads)
    with source:
        times: list[int] = []
        rows: list[Float32] = []
        count = len(source.times_ns)
        for frame in source.frames():
            progress(frame.frame_number / count)
            if frame.picture is not None and (not times or frame.time_ns > times[-1]):
                times.append(frame.time_ns)
                rows.append(row_means(frame.picture.luma))
    if not rows:
        raise FlashInputError(f"{path}: none of its {count} frames could be decoded")
    stamps = np.array(times, dtype=np.int64)
    return RowFeatures(stamps, np.vstack(rows), _time_step_ns(stamps))


def row_means(luma: npt.NDArray[np.uint8]) -> Float32:
    """Return the mean of each row of a luminance plane."""
    sums = cv2.reduce(luma, 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S)  # exact, six times numpy's rate
    means: Float32 = (sums[:, 0] / luma.shape[1]).astype(np.float32)
    return means


def _time_step_ns(times_ns: Int64) -> float:
    """What the container rounded the times to, if coarse: Matroska keeps milliseconds."""
    step = int(np.gcd.reduce(times_ns - times_ns[0]))
    return float(step) if step <= COARSEST_STEP_NS else 0.0  # larger: the frame period itself
