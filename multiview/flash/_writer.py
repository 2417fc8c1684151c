"""Writing one MP4: pictures at a constant rate, and sound that is laid on the common timeline."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.audio.stream import AudioStream
from av.container import OutputContainer
from scipy.ndimage import map_coordinates

from multiview.audio import AudioReader, NoAudioError
from multiview.sources import Image
from multiview.timeline import Timeline

Float32 = npt.NDArray[np.float32]

NS_PER_S = 1_000_000_000
QUALITY = {"preset": "veryfast", "crf": "18"}
SPLINE_ORDER = 3
SPLINE_MARGIN = 16  # samples: a cubic spline forgets its ends within a dozen


@contextmanager
def published(target: Path) -> Iterator[Path]:
    """Give a temporary path beside ``target``, moved there when complete, removed if not."""
    part = target.with_name(f".{target.stem}.part{target.suffix}")
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


class SoundOnTimeline:
    """A file's sound, resampled so that it follows the common timeline from ``begin_ns``."""

    def __init__(self, path: Path, line: Timeline, begin_ns: int) -> None:
        self._reader = AudioReader(path)
        self._line = line
        self._begin_ns = begin_ns
        self.rate_hz = self._reader.rate_hz
        self.channels = min(self._reader.channels, 2)

    def samples(self, first: int, count: int) -> Float32:
        """Return channels × ``count`` samples from number ``first`` of the result."""
        ends = [self._place(first), self._place(first + count - 1)]
        begin = int(np.floor(ends[0])) - SPLINE_MARGIN
        length = int(np.ceil(ends[1])) + SPLINE_MARGIN - begin
        source = self._reader.samples(begin, length)[: self.channels]
        places = np.linspace(ends[0], ends[1], count) - begin
        bent = [map_coordinates(channel, [places], order=SPLINE_ORDER) for channel in source]
        stacked: Float32 = np.clip(np.stack(bent), -1.0, 1.0).astype(np.float32)
        return stacked

    def _place(self, number: int) -> float:
        """Position in the source, in samples, of sample ``number`` of the result."""
        instant_ns = self._begin_ns + round(number * NS_PER_S / self.rate_hz)
        own_ns = self._line.source_time(instant_ns)
        return (own_ns - self._reader.start_ns) * self.rate_hz / NS_PER_S

    def release(self) -> None:
        """Close the file."""
        self._reader.release()


def open_sound(path: Path, line: Timeline, begin_ns: int) -> SoundOnTimeline | None:
    """Return a file's sound on the timeline, or None if it has none."""
    try:
        return SoundOnTimeline(path, line, begin_ns)
    except NoAudioError:
        return None


def write_video(
    target: Path, pictures: Iterable[Image], rate: Fraction, sound: SoundOnTimeline | None = None
) -> None:
    """Encode H×W×3 BGR pictures as H.264, and the sound as AAC beside them."""
    with av.open(str(target), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options=QUALITY)
        stream.pix_fmt = "yuv420p"
        audio = None if sound is None else _SoundTrack(container, sound)
        for number, picture in enumerate(pictures):
            if number == 0:
                stream.height, stream.width = (side // 2 * 2 for side in picture.shape[:2])
            even = np.ascontiguousarray(picture[: stream.height, : stream.width])
            frame = av.VideoFrame.from_ndarray(even, format="bgr24")
            frame.pts, frame.time_base = number, 1 / rate
            container.mux(stream.encode(frame))
            if audio is not None:
                audio.write_until(Fraction(number + 1) / rate)
        container.mux(stream.encode(None))
        if audio is not None:
            audio.close()


class _SoundTrack:
    """The sound stream of a file being written."""

    def __init__(self, container: OutputContainer, sound: SoundOnTimeline) -> None:
        self._container = container
        self._sound = sound
        self._stream: AudioStream = container.add_stream("aac", rate=sound.rate_hz)
        self._stream.layout = "mono" if sound.channels == 1 else "stereo"
        self._written = 0

    def write_until(self, time_s: Fraction) -> None:
        count = int(time_s * self._sound.rate_hz) - self._written
        if count <= 0:
            return
        samples = self._sound.samples(self._written, count)
        frame = av.AudioFrame.from_ndarray(samples, "fltp", self._stream.layout.name)
        frame.sample_rate, frame.pts = self._sound.rate_hz, self._written
        frame.time_base = Fraction(1, self._sound.rate_hz)
        self._container.mux(self._stream.encode(frame))
        self._written += count

    def close(self) -> None:
        self._container.mux(self._stream.encode(None))
        self._sound.release()
