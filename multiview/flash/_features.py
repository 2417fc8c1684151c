"""What flash detection reads of a video: the mean luminance of every row of every frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt

from multiview.flash._errors import FlashInputError

Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]
Progress = Callable[[float], None]

NS_PER_S = 1_000_000_000
MIN_FRAMES = 8  # a flash is judged against three frames before and after it
EIGHT_BIT_LUMA = ("yuv4", "yuvj4", "nv12", "gray")


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


def extract_features(path: Path, progress: Progress = _no_progress) -> RowFeatures:
    """Decode a video and average each row of its luminance plane.

    Only the first video stream is decoded, frame-threaded, and no colour is converted: planar
    8-bit luminance is averaged where the decoder left it. ``progress`` gets a fraction of 1.

    Raises FlashInputError if there is no video, no time stamps or too few frames.
    """
    try:
        with av.open(str(path)) as container:
            return _read_rows(container, path, progress)
    except (av.error.FFmpegError, OSError) as error:
        raise FlashInputError(f"{path}: cannot be read as video: {error}") from error


def _read_rows(
    container: av.container.InputContainer, path: Path, progress: Progress
) -> RowFeatures:
    if not container.streams.video:
        raise FlashInputError(f"{path}: has no video stream")
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    length = float((stream.duration or 0) * (stream.time_base or 0)) or 1e-6 * (
        container.duration or 0
    )
    times: list[int] = []
    rows: list[Float32] = []
    for frame in container.decode(stream):
        if frame.pts is None or frame.time_base is None:
            continue
        time_ns = round(frame.pts * frame.time_base * NS_PER_S)
        if times and time_ns <= times[-1]:
            continue
        times.append(time_ns)
        rows.append(row_means(frame))
        if length:
            progress(min((time_ns - times[0]) / NS_PER_S / length, 1.0))
    if not rows:
        raise FlashInputError(f"{path}: no frame with a time stamp could be decoded")
    step = float(stream.time_base or 0) * NS_PER_S
    return RowFeatures(np.array(times, dtype=np.int64), np.vstack(rows), step)


def row_means(frame: av.VideoFrame) -> Float32:
    """Return the mean luminance of each row of a decoded frame."""
    name = frame.format.name
    if not name.startswith(EIGHT_BIT_LUMA) or frame.format.components[0].bits != 8:
        frame = frame.reformat(format="gray")
    plane = frame.planes[0]
    lines = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    picture = lines[: frame.height, : frame.width]
    sums = cv2.reduce(picture, 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S)  # exact, six times numpy's rate
    means: Float32 = (sums[:, 0] / frame.width).astype(np.float32)
    return means
