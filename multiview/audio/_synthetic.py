"""Sound of known offset and drift: one event, heard by several microphones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import map_coordinates
from scipy.signal import butter, sosfilt

from multiview.audio._reader import NS_PER_S, Sound

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

SYLLABLE_S = 0.15
SPEECH_BAND_HZ = (150.0, 3400.0)
LOUDNESS = 0.05  # root mean square of full scale
HEADROOM_S = 30  # of event before and after what is asked for


@dataclass(frozen=True)
class Microphone:
    """When and by which clock a recording was made."""

    start_s: float = 0.0
    """time of the event at which it starts; its own clock says 0"""
    drift_ppm: float = 0.0
    """how much its clock gains"""
    snr_db: float = 10.0
    echo: float = 0.0
    """strength of an echo after 37 ms, for a room"""
    seed: int = 0


class HeardEvent:
    """Speech-like sound: band-limited noise in syllables and pauses."""

    def __init__(self, duration_s: float, rate_hz: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.rate_hz = rate_hz
        self.duration_s = duration_s
        count = int((duration_s + 2 * HEADROOM_S) * rate_hz)
        noise = rng.normal(size=count).astype(np.float32)
        band = butter(4, SPEECH_BAND_HZ, "bandpass", fs=rate_hz, output="sos")
        syllables = rng.exponential(1.0, int(count / rate_hz / SYLLABLE_S) + 2)
        syllables *= rng.random(len(syllables)) < 0.7
        loud = np.interp(
            np.arange(count) / rate_hz / SYLLABLE_S, np.arange(len(syllables)), syllables
        )
        self._samples = _scaled(sosfilt(band, noise) * loud)

    def recorded(self, microphone: Microphone) -> Sound:
        """Return what a microphone's file holds."""
        rng = np.random.default_rng([microphone.seed, 7])
        own_s = np.arange(int(self.duration_s * self.rate_hz)) / self.rate_hz
        event_s = HEADROOM_S + microphone.start_s + own_s / (1 + 1e-6 * microphone.drift_ppm)
        heard = self._at(event_s) + microphone.echo * self._at(event_s - 0.037)
        noise = rng.normal(0, LOUDNESS * 10 ** (-microphone.snr_db / 20), len(heard))
        return Sound((heard + noise).astype(np.float32), self.rate_hz)

    def _at(self, event_s: Float64) -> Float64:
        found: Float64 = map_coordinates(self._samples, [event_s * self.rate_hz], order=3)
        return found


def true_offset_ns(one: Microphone, two: Microphone, one_ns: float) -> float:
    """Return what the second recording's clock says more than the first's."""
    event_s = one.start_s + one_ns / NS_PER_S / (1 + 1e-6 * one.drift_ppm)
    two_s = (event_s - two.start_s) * (1 + 1e-6 * two.drift_ppm)
    return two_s * NS_PER_S - one_ns


def _scaled(samples: Float64) -> Float64:
    scaled: Float64 = samples * (LOUDNESS / np.sqrt(np.mean(samples**2)))
    return scaled
