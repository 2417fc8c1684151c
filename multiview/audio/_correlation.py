"""Where two pieces of sound agree best: generalised cross-correlation with phase transform.

C. Knapp and G. Carter, "The Generalized Correlation Method for Estimation of Time Delay", 1976.
The phase transform gives every frequency the same say, so that neither a hum nor the bass of a
room decides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.fft import irfft, next_fast_len, rfft

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Complex = npt.NDArray[np.complexfloating]

LOWEST_HZ = 80.0  # wind, handling noise and mains hum lie below
HIGHEST_SHARE = 0.45  # of the sample rate: above, resampling filters differ
UPSAMPLING = 8  # of the correlation around its peak, before a parabola refines it
PEAK_WIDTH_S = 0.002  # around the peak: left out when the background is measured
QUIET = 1e-9


@dataclass(frozen=True)
class Peak:
    """The lag of the best agreement: ``one[n] ≈ two[n + lag]``."""

    lag: float
    """samples, with a fraction"""
    height: float
    """in standard deviations of the correlation elsewhere"""


def whitened(samples: Float32, rate_hz: float, length: int) -> Complex:
    """Return the spectrum with unit magnitudes in the band that sound is compared in."""
    spectrum = rfft(samples, length)
    frequencies = np.fft.rfftfreq(length, 1 / rate_hz)
    band = (frequencies >= LOWEST_HZ) & (frequencies <= HIGHEST_SHARE * rate_hz)
    magnitude = np.abs(spectrum)
    floor = max(float(magnitude.max()) * QUIET, float(np.finfo(np.float32).tiny))
    white: Complex = np.where(band, spectrum / np.maximum(magnitude, floor), 0)
    return white


def find_peak(
    one: Complex, two: Complex, length: int, first: int, last: int, rate_hz: float
) -> Peak:
    """Return the best lag in ``first … last`` between whitened spectra of one FFT length."""
    correlation = irfft(np.conj(one) * two, length)
    lags = np.arange(first, last + 1)
    values = correlation[lags % length]
    best = int(np.argmax(values))
    away = np.abs(np.arange(len(values)) - best) > PEAK_WIDTH_S * rate_hz
    background = float(np.std(values[away])) if away.any() else 0.0
    height = float(values[best]) / background if background > 0 else 0.0
    return Peak(float(lags[best]) + _refine(correlation, int(lags[best])), height)


def local_peak(one: Float32, two: Float32, reach: int, rate_hz: float) -> Peak:
    """Return the best lag of two equally long pieces, no farther than ``reach`` samples."""
    length = next_fast_len(len(one) + reach, real=True)
    first, second = (whitened(piece, rate_hz, length) for piece in (one, two))
    return find_peak(first, second, length, -reach, reach, rate_hz)


def _refine(correlation: Float64, lag: int) -> float:
    """Fraction of a sample to add to a peak's lag: band-limited, then by a parabola."""
    half = 16
    around = correlation[np.arange(lag - half, lag + half) % len(correlation)]
    spectrum = rfft(around * np.hanning(2 * half + 1)[:-1])  # its top on the middle sample
    fine = irfft(spectrum, 2 * half * UPSAMPLING)
    middle = half * UPSAMPLING
    near = np.arange(middle - UPSAMPLING, middle + UPSAMPLING + 1)
    top = int(near[np.argmax(fine[near])])
    left, centre, right = fine[top - 1 : top + 2]
    bend = left - 2 * centre + right
    parabola = 0.5 * (left - right) / bend if bend < 0 else 0.0
    return (top - middle + parabola) / UPSAMPLING
