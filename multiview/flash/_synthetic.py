"""Footage with flashes whose true times are known, by the physics of a rolling shutter.

Row ``r`` of the frame that starts at ``FS`` collects light over
``[FS + r·T_row − exposure, FS + r·T_row]``. A flash emits with the cumulative law ``F`` after its
onset, so the row gains ``strength·(F(end) − F(begin))`` of what it reflects. Rows that were read
before the onset stay dark, rows whose exposure began after it are dark again, and a flash between
the last row's end and the next first row's begin is missed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from multiview.audio import Sound
from multiview.flash._features import NS_PER_S, Float32, Int64, RowFeatures

Float64 = npt.NDArray[np.float64]

MP4_CLOCK_HZ = 90_000
AMBIENT_LEVEL = (55.0, 25.0)  # mean and spread of the scene's luminance without flash
ROW_NOISE = 0.15  # standard deviation of a row's mean: pixel noise of 4 over 960 columns, coded
PIXEL_NOISE = 3.0
DARK_DECAYS = 30.0  # after so many time constants a flash gives no light that could be coded


@dataclass(frozen=True)
class Flash:
    """One photographic flash: instant rise, exponential or constant decay."""

    onset_ns: int
    strength: float = 1.2
    """light gained by a fully exposed row, relative to ambient"""
    decay_ns: float = 600_000.0
    """time constant; the length of the pulse if it is rectangular"""
    seen_by: frozenset[str] | None = None
    """names of the cameras it reaches, None for all"""
    rectangular: bool = False

    def emitted(self, since_onset_ns: Float64) -> Float64:
        """Return the part of the light (0–1) that is out after so many ns."""
        phase = np.maximum(since_onset_ns, 0.0) / self.decay_ns
        return np.minimum(phase, 1.0) if self.rectangular else 1.0 - np.exp(-phase)


@dataclass(frozen=True)
class RollingShutterCamera:
    """A free-running camera: its clock, its shutter and which of its frames were kept."""

    name: str
    fps: Fraction = Fraction(30)
    start_ns: int = 0
    """world time of its first frame start, which its own clock calls 0"""
    drift_ppm: float = 0.0
    """how much its clock gains on the world's"""
    line_time_ns: float = 50_000.0
    exposure_ns: float = 8_000_000.0
    height: int = 540
    width: int = 960
    upside_down: bool = False
    slow_frames: float = 0.0
    """share of frames that last half as long again: variable frame rate"""
    drops: float = 0.0
    """share of frames that are missing"""
    seed: int = 0

    def frame_times(self, duration_ns: int) -> Int64:
        """Return the frame starts (ns, own clock) of the frames that were kept."""
        rng = np.random.default_rng(self.seed)
        count = int(duration_ns * self.fps / NS_PER_S)
        stretch = 1.0 + 0.5 * (rng.random(count) < self.slow_frames)
        nominal = np.concatenate([[0.0], np.cumsum(stretch)[:-1]]) * NS_PER_S / float(self.fps)
        kept = (rng.random(count) >= self.drops) & (nominal < duration_ns)
        return np.rint(nominal[kept]).astype(np.int64)

    def world_ns(self, own_ns: Float64 | Int64, row: float | Float64 = 0.0) -> Float64:
        """Return the world time at which a picture row of the frame at ``own_ns`` was read out."""
        line = np.asarray(row, dtype=np.float64)
        if self.upside_down:
            line = self.height - 1 - line
        elapsed = np.asarray(own_ns, dtype=np.float64) / (1 + 1e-6 * self.drift_ppm)
        world: Float64 = self.start_ns + elapsed + line * self.line_time_ns
        return world

    def own_ns(self, world_ns: Float64) -> Float64:
        """Return its clock's reading at a world time."""
        return (world_ns - self.start_ns) * (1 + 1e-6 * self.drift_ppm)

    def flash_gain(self, own_ns: Int64, flashes: Sequence[Flash]) -> Float64:
        """Return K×H: light of the flashes per picture row, relative to ambient."""
        rows = np.arange(self.height, dtype=np.float64)
        gain = np.zeros((len(own_ns), self.height))
        starts = self.world_ns(own_ns, float(self.height - 1 if self.upside_down else 0))
        for flash in flashes:
            if flash.seen_by is not None and self.name not in flash.seen_by:
                continue
            dark_after = self.exposure_ns + DARK_DECAYS * flash.decay_ns
            reach = self.height * self.line_time_ns
            lit = (starts > flash.onset_ns - reach) & (starts < flash.onset_ns + dark_after)
            since = self.world_ns(own_ns[lit, None], rows[None, :]) - flash.onset_ns
            gain[lit] += flash.strength * (
                flash.emitted(since) - flash.emitted(since - self.exposure_ns)
            )
        return gain


@dataclass(frozen=True)
class FlashFootage:
    """Several cameras that filmed the same flashes, and the truth about them."""

    name: str
    cameras: tuple[RollingShutterCamera, ...]
    flashes: tuple[Flash, ...]
    duration_ns: int = 60 * NS_PER_S
    solvable: bool = True
    seed: int = 0

    def __getitem__(self, camera: str) -> RollingShutterCamera:
        return self._by_name[camera]

    @cached_property
    def _by_name(self) -> dict[str, RollingShutterCamera]:
        return {camera.name: camera for camera in self.cameras}

    def true_ns(self, camera: str, own_ns: Int64, row: float, reference: str) -> Float64:
        """Return when a row was read out, by the reference camera's clock."""
        return self[reference].own_ns(self[camera].world_ns(own_ns, row))

    def features(self, camera: str) -> RowFeatures:
        """Return the row luminance that a video of this camera would have, without coding it."""
        shooter = self[camera]
        times = shooter.frame_times(self.duration_ns)
        rng = np.random.default_rng([self.seed, *camera.encode()])
        scene = _moving_rows(shooter, times, rng)
        tilt = 1.0 + rng.uniform(-0.3, 0.3) * np.linspace(-1, 1, shooter.height)
        light = scene * (1.0 + tilt * shooter.flash_gain(times, self.flashes))
        light += rng.normal(0.0, ROW_NOISE, light.shape)
        return RowFeatures(times, np.clip(light, 0, 255).astype(np.float32))

    def write_video(self, camera: str, path: Path, sound: Sound | None = None) -> None:
        """Encode this camera's H.264 video, and sound as PCM (which MOV and MKV can hold)."""
        shooter = self[camera]
        times = shooter.frame_times(self.duration_ns)
        rng = np.random.default_rng([self.seed, *camera.encode()])
        gain = shooter.flash_gain(times, self.flashes)
        pictures = _moving_pictures(shooter, times, gain, rng)
        _encode(path, shooter, times, pictures, sound)


def _moving_rows(camera: RollingShutterCamera, times: Int64, rng: np.random.Generator) -> Float64:
    """K×H luminance of a textured scene that sways up and down."""
    reach = camera.height // 8
    texture = _smooth(rng.normal(size=camera.height + 2 * reach), width=camera.height // 20)
    level = AMBIENT_LEVEL[0] + AMBIENT_LEVEL[1] * texture
    sway = reach * (1 + np.sin(2 * np.pi * times / (7.3 * NS_PER_S)))
    positions = np.arange(camera.height)[None, :] + sway[:, None]
    rows: Float64 = np.interp(positions.ravel(), np.arange(len(level)), level)
    return rows.reshape(positions.shape)


def _moving_pictures(
    camera: RollingShutterCamera, times: Int64, gain: Float64, rng: np.random.Generator
) -> Iterator[npt.NDArray[np.uint8]]:
    """Luminance planes of a panning scene with a walker, lit unevenly by each flash."""
    height, width, reach = camera.height, camera.width, camera.height // 8
    world = _texture(height + 2 * reach, width + 2 * reach, rng)
    noise = rng.normal(0.0, PIXEL_NOISE, (height + 64, width)).astype(np.float32)
    across = 1.0 + 0.4 * np.linspace(-1, 1, width, dtype=np.float32)
    for time_ns, lit in zip(times, gain, strict=True):
        phase = 2 * np.pi * float(time_ns) / (7.3 * NS_PER_S)
        top, left = int(reach * (1 + np.sin(phase))), int(reach * (1 + np.cos(0.7 * phase)))
        picture = world[top : top + height, left : left + width].copy()
        walker = int((time_ns / NS_PER_S * 0.1 % 1.0) * (width - width // 8))
        picture[height // 3 :, walker : walker + width // 12] *= 0.5
        rows = np.flatnonzero(lit > 1e-4)
        picture[rows] *= 1.0 + lit[rows, None].astype(np.float32) * across
        start = int(rng.integers(0, 64))
        picture += noise[start : start + height]
        yield np.clip(picture, 0, 255).astype(np.uint8)


def _encode(
    path: Path,
    camera: RollingShutterCamera,
    times: Int64,
    pictures: Iterator[npt.NDArray[np.uint8]],
    sound: Sound | None,
) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", options={"preset": "veryfast", "crf": "21"})
        stream.width, stream.height, stream.pix_fmt = camera.width, camera.height, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, MP4_CLOCK_HZ)
        track = None
        if sound is not None:
            track = container.add_stream("pcm_s16le", rate=sound.rate_hz)
            track.layout = "mono"
        grey = np.full((camera.height // 2, camera.width), 128, np.uint8)
        for time_ns, picture in zip(times, pictures, strict=True):
            frame = av.VideoFrame.from_ndarray(np.vstack([picture, grey]), format="yuv420p")
            frame.pts = round(int(time_ns) * MP4_CLOCK_HZ / NS_PER_S)
            frame.time_base = Fraction(1, MP4_CLOCK_HZ)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound is not None and track is not None:
            container.mux(track.encode(_audio_frame(sound)))
            container.mux(track.encode(None))


def _audio_frame(sound: Sound) -> av.AudioFrame:
    loud = np.rint(np.clip(sound.samples, -1, 1) * 32767).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(loud[None, :], "s16", "mono")
    frame.sample_rate, frame.pts = sound.rate_hz, 0
    frame.time_base = Fraction(1, sound.rate_hz)
    return frame


def _texture(height: int, width: int, rng: np.random.Generator) -> Float32:
    coarse = np.add.outer(
        _smooth(rng.normal(size=height), height // 20), _smooth(rng.normal(size=width), width // 30)
    )
    fine = np.repeat(np.repeat(rng.normal(size=(height // 8 + 1, width // 8 + 1)), 8, 0), 8, 1)
    picture = AMBIENT_LEVEL[0] + AMBIENT_LEVEL[1] * (0.6 * coarse + 0.3 * fine[:height, :width])
    return np.clip(picture, 8, 200).astype(np.float32)


def _smooth(values: Float64, width: int) -> Float64:
    """Low-pass noise and scale it to ±1."""
    kernel = np.hanning(2 * width + 1)
    smooth = np.convolve(values, kernel / kernel.sum(), "same")
    scaled: Float64 = smooth / max(float(np.abs(smooth).max()), 1e-9)
    return scaled
