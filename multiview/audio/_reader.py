"""Sound of a file, by its own presentation times."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import av
import numpy as np
import numpy.typing as npt
from av.audio.resampler import AudioResampler

from multiview._released import Released
from multiview.audio._errors import NoAudioError

Float32 = npt.NDArray[np.float32]

NS_PER_S = 1_000_000_000
GAP_S = 0.02  # a jump of the time stamps by more is a gap in the sound, less is rounding


@dataclass(frozen=True)
class Sound:
    """Mono sound with the time of its first sample on the file's own clock."""

    samples: Float32
    rate_hz: int
    start_ns: int = 0

    @property
    def end_ns(self) -> int:
        """Time after the last sample (ns)."""
        return self.start_ns + round(len(self.samples) * NS_PER_S / self.rate_hz)


class AudioReader(Released):
    """Reads the first audio stream forward, as float channels at its own or a given rate.

    Gaps in the time stamps are filled with silence, so that sample ``n`` lies at
    ``start_ns + n / rate_hz``. Raises NoAudioError if there is no sound.
    """

    def __init__(self, path: Path, rate_hz: int | None = None, mono: bool = False) -> None:
        try:
            self._container = av.open(str(path))
        except (av.error.FFmpegError, OSError) as error:
            raise NoAudioError(f"{path}: cannot be read: {error}") from error
        if not self._container.streams.audio:
            self._container.close()
            raise NoAudioError(f"{path}: has no audio stream")
        self._stream = self._container.streams.audio[0]
        self.rate_hz = rate_hz or self._stream.rate
        self.channels = 1 if mono else self._stream.channels
        layout = "mono" if mono else self._stream.layout
        self._resampler = AudioResampler(format="fltp", layout=layout, rate=self.rate_hz)
        self._blocks = self._read()
        first = next(self._blocks, None)
        if first is None:
            self.release()
            raise NoAudioError(f"{path}: its audio stream holds no sound")
        self.start_ns, self._buffer = first
        self._first = 0  # number of the first sample in the buffer

    def _read(self) -> Iterator[tuple[int, Float32]]:
        """Yield blocks (time of first sample, channels × samples) as the file has them."""
        try:
            for frame in self._container.decode(self._stream):
                if frame.pts is None:
                    continue
                for part in self._resampler.resample(frame):
                    yield self._stamp_ns(part), part.to_ndarray().astype(np.float32, copy=False)
            for part in self._resampler.resample(None):
                yield self._stamp_ns(part), part.to_ndarray().astype(np.float32, copy=False)
        except av.error.InvalidDataError:
            return  # a truncated file: what was read before is good

    @staticmethod
    def _stamp_ns(frame: av.AudioFrame) -> int:
        return round((frame.pts or 0) * (frame.time_base or 0) * NS_PER_S)

    def samples(self, first: int, count: int) -> Float32:
        """Return channels × ``count`` samples from number ``first``; silence outside the sound.

        Reads forward: samples before those of the last call may have been dropped.
        """
        self._extend(first + count)
        out = np.zeros((self.channels, max(count, 0)), np.float32)
        begin, end = max(first, self._first), min(first + count, self._end)
        if end > begin:
            inside = self._buffer[:, begin - self._first : end - self._first]
            out[:, begin - first : end - first] = inside
        drop = min(max(first - self._first, 0), self._buffer.shape[1])
        self._buffer, self._first = self._buffer[:, drop:], self._first + drop
        return out

    def rest(self) -> Float32:
        """Return channels × samples of all that has not been dropped."""
        self._extend(sys.maxsize)
        return self._buffer

    @property
    def _end(self) -> int:
        return self._first + int(self._buffer.shape[1])

    def _extend(self, end: int) -> None:
        blocks, length = [self._buffer], self._end
        while length < end:
            found = next(self._blocks, None)
            if found is None:
                break
            stamp_ns, block = found
            expected = round((stamp_ns - self.start_ns) * self.rate_hz / NS_PER_S)
            gap = expected - length
            if gap > GAP_S * self.rate_hz:
                blocks.append(np.zeros((self.channels, gap), np.float32))
                length += gap
            blocks.append(block)
            length += block.shape[1]
        self._buffer = np.concatenate(blocks, axis=1)

    def release(self) -> None:
        """Close the file."""
        self._container.close()

    def __enter__(self) -> Self:
        return self


def read_sound(path: Path, rate_hz: int) -> Sound:
    """Return a file's sound as mono at ``rate_hz``. Raises NoAudioError."""
    with AudioReader(path, rate_hz, mono=True) as reader:
        return Sound(reader.rest()[0], rate_hz, reader.start_ns)
