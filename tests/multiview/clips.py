"""Clips of known truth: every frame shows its own number, and its time is kept beside it."""

import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from random import Random

import av
import imageio_ffmpeg
import numpy as np

from multiview.sources import Frame

TICKS_PER_S = 90_000
TIME_BASE = Fraction(1, TICKS_PER_S)
CELL = 32
BITS = 16
WIDTH, HEIGHT = 1280, 720


@dataclass(frozen=True)
class Clip:
    """A file, and the number shown and the time of each of its frames in order."""

    path: Path
    shown: tuple[int, ...]
    times_ns: tuple[int, ...]

    def nearest(self, time_ns: int) -> int:
        """Position of the frame nearest to a time, the slow and plain way."""
        return min(range(len(self.shown)), key=lambda k: (abs(self.times_ns[k] - time_ns), k))


def shown_number(frame: Frame) -> int:
    """The number in a frame's picture."""
    assert frame.picture is not None, frame.reason
    cells = frame.picture.luma[CELL // 2, CELL // 2 : BITS * CELL : CELL]
    return sum(int(cell > 120) << bit for bit, cell in enumerate(cells))


def encode(
    path: Path,
    ticks: Sequence[int],
    *,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    codec: str = "libx264",
    b_frames: int = 0,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
) -> Clip:
    """One frame per stamp (in 1/90000 s), key frames every 30."""
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=30, options=options or {"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.time_base = TIME_BASE
        stream.codec_context.gop_size = 30
        stream.codec_context.max_b_frames = b_frames
        for frame in _pictures(ticks, size):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    times = tuple(round(Fraction(tick * 10**9, TICKS_PER_S)) for tick in ticks)
    return Clip(path, tuple(range(len(ticks))), times)


def _pictures(ticks: Sequence[int], size: tuple[int, int]) -> Iterator[av.VideoFrame]:
    width, height = size
    planes = np.full((height * 3 // 2, width), 128, np.uint8)
    cells = planes[:CELL, : CELL * BITS].reshape(CELL, BITS, CELL)
    for number, tick in enumerate(ticks):
        cells[:] = (((number >> np.arange(BITS)) & 1) * 200 + 20).astype(np.uint8)[None, :, None]
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts, frame.time_base = tick, TIME_BASE
        yield frame


def steady(seconds: float, rate: int = 30) -> list[int]:
    return [n * TICKS_PER_S // rate for n in range(round(seconds * rate))]


def varying(seconds: float, seed: int) -> list[int]:
    """Steps between 8 and 80 ms, as a phone in changing light makes them."""
    random, ticks = Random(seed), [0]
    while ticks[-1] < seconds * TICKS_PER_S:
        ticks.append(ticks[-1] + random.randrange(720, 7200))
    return ticks[:-1]


def halved(seconds: float) -> list[int]:
    """30 per second, then 15 from the middle on."""
    half = round(seconds / 2 * TICKS_PER_S)
    return [t for t in steady(seconds) if t < half or (t - half) % 6000 == 0]


def ffmpeg(*arguments: str | Path) -> None:
    program = imageio_ffmpeg.get_ffmpeg_exe()
    subprocess.run([program, "-v", "error", "-y", *map(str, arguments)], check=True)


def trimmed(clip: Clip, path: Path, start_s: str, first: int) -> Clip:
    """Cut by stream copy: the file begins at a key frame, an edit list hides what is too early."""
    ffmpeg("-ss", start_s, "-i", clip.path, "-c", "copy", path)
    zero = clip.times_ns[first]
    return Clip(path, clip.shown[first:], tuple(t - zero for t in clip.times_ns[first:]))


def remuxed(clip: Clip, path: Path) -> Clip:
    ffmpeg("-i", clip.path, "-c", "copy", path)
    return Clip(path, clip.shown, clip.times_ns)


def cut_off(clip: Clip, path: Path, share: float) -> Clip:
    """The first ``share`` of the bytes; how many frames that is, FFmpeg's plain decoding tells."""
    content = clip.path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return Clip(path, clip.shown, clip.times_ns)
