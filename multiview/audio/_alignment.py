"""Offset and drift between two recordings of the same sound.

First some windows of one are sought in all of the other; those that agree on one offset (with a
bounded drift) give a rough line. Along it, many short windows are compared to a fraction of a
sample, and a robust line through their lags gives offset, drift and how sure they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy.fft import next_fast_len
from scipy.ndimage import map_coordinates
from scipy.signal import resample_poly
from scipy.stats import binom

from multiview.audio._correlation import find_peak, local_peak, whitened
from multiview.audio._errors import NoAudioError, UnrelatedAudioError
from multiview.audio._reader import NS_PER_S, Sound

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

RATE_HZ = 8000
"""rate at which sound is compared: speech, claps and steps have their energy below 4 kHz"""
COARSE_HZ = 4000
SILENCE = 1e-4  # root mean square of full scale (-80 dB): below is no sound but noise of the input
PROBE_S = 8.0  # at 500 ppm a probe slips by 4 ms: longer ones would blur their own peak
PROBES = 10
PROBE_HEIGHT = 6.0  # standard deviations; of millions of lags chance reaches that in 0.2 %
PROBE_AGREEMENT_S = 0.01
MIN_PROBES = 3
RIVAL_SHARE = 0.6  # of the best line's probes on another line: the sound repeats itself
WINDOW_S = 2.0
REACH_S = (0.06, 0.01)  # lags tried along the rough line, and along the refined one
AGREEMENT_S = 0.002
MIN_HEIGHT = 5.0  # standard deviations: of some 1000 lags one such peak in 3000 windows is chance
MAX_LOG10_NFA = -3.0
MIN_WINDOWS = 4
MAX_WINDOWS = 200  # spread over long recordings
MAX_DRIFT = 500e-6
TUKEY = 4.0
ROUNDS = 15
FLOOR_S = 2e-5  # echoes and microphones leave this much even in perfect sound


@dataclass(frozen=True)
class AudioAlignment:
    """The second recording's time is ``t + offset + drift·(t − origin)`` at the first's ``t``."""

    origin_ns: int
    """on the first recording's clock"""
    offset_ns: float
    drift: float
    covariance: tuple[tuple[float, float], tuple[float, float]]
    """of (offset ns, drift) at ``origin_ns``"""
    windows: int
    """windows compared"""
    agreeing: int
    """of them, on the line"""
    rms_ns: float
    """scatter of the agreeing ones"""
    log10_nfa: float
    """how many such agreements chance would bring"""


def align(one: Sound, two: Sound, max_drift: float = MAX_DRIFT) -> AudioAlignment:
    """Find offset and drift of two recordings, both mono at RATE_HZ.

    Raises NoAudioError for silence, UnrelatedAudioError if the recordings share no sound or the
    sound repeats itself.
    """
    for sound in (one, two):
        _check_sound(sound)
    line = _rough_line(one, two, max_drift)
    coarse = _fit_line(_compare(one, two, line, REACH_S[0]))
    log10_nfa = coarse.log10_nfa(REACH_S[0])
    if coarse.agreeing.sum() < MIN_WINDOWS or log10_nfa > MAX_LOG10_NFA:
        raise _unrelated(f"{coarse.agreeing.sum()} of {len(coarse.agreeing)} windows agree")
    fine = _fit_line(_compare(one, two, coarse.line, REACH_S[1]))
    return AudioAlignment(
        origin_ns=one.start_ns + round(fine.line.origin * NS_PER_S),
        offset_ns=two.start_ns - one.start_ns + fine.line.offset * NS_PER_S,
        drift=fine.line.drift,
        covariance=fine.covariance_ns(),
        windows=len(fine.agreeing),
        agreeing=int(fine.agreeing.sum()),
        rms_ns=fine.rms * NS_PER_S,
        log10_nfa=log10_nfa,
    )


@dataclass(frozen=True)
class _Line:
    """Offset (s) over the time (s) since the first recording's first sample."""

    origin: float
    offset: float
    drift: float

    def at(self, times: Float64) -> Float64:
        return self.offset + self.drift * (times - self.origin)

    def inverted(self) -> _Line:
        """The same line seen from the second recording."""
        return _Line(self.origin + self.offset, -self.offset, -self.drift / (1 + self.drift))


def _check_sound(sound: Sound) -> None:
    if sound.rate_hz != RATE_HZ:
        raise ValueError(f"sound at {sound.rate_hz} Hz: align compares at {RATE_HZ} Hz")
    seconds = len(sound.samples) / RATE_HZ
    if seconds < MIN_WINDOWS * WINDOW_S:
        raise NoAudioError(
            f"{seconds:.1f} s of sound are too short", hint=f"{MIN_WINDOWS * WINDOW_S:g} s at least"
        )
    if float(np.sqrt(np.mean(sound.samples.astype(np.float64) ** 2))) < SILENCE:
        raise NoAudioError("a recording is silent", hint="check that its microphone was on")


def _unrelated(reason: str) -> UnrelatedAudioError:
    return UnrelatedAudioError(
        f"the recordings share no sound that tells their offset: {reason}",
        hint="both must hear the same event for half a minute or more",
    )


def _rough_line(one: Sound, two: Sound, max_drift: float) -> _Line:
    """Seek pieces of the shorter recording in all of the longer one."""
    if len(one.samples) > len(two.samples):
        return _rough_line(two, one, max_drift).inverted()
    times, offsets = _probe(one.samples, two.samples)
    lines = _lines(times, offsets, max_drift)
    on_line = [np.abs(line.at(times) - offsets) <= PROBE_AGREEMENT_S for line in lines]
    best = max(on_line, key=np.sum, default=np.zeros(0, dtype=np.bool_))
    if best.sum() < MIN_PROBES:
        raise _unrelated(f"no offset is suggested by {MIN_PROBES} of {PROBES} pieces")
    others = [int((found & ~best).sum()) for found in on_line]
    if max(others) >= max(2, RIVAL_SHARE * best.sum()):
        raise _unrelated("it repeats itself, and more than one offset fits")
    centre = float(times[best].mean())
    drift, offset = np.polyfit(times[best] - centre, offsets[best], 1)
    return _Line(centre, float(offset), float(drift))


def _probe(one: Float32, two: Float32) -> tuple[Float64, Float64]:
    """Times of pieces of one recording, and the offsets at which the other is most like them."""
    step = RATE_HZ // COARSE_HZ
    short, long = (resample_poly(samples, 1, step) for samples in (one, two))
    size = int(min(PROBE_S, len(short) / COARSE_HZ / MIN_WINDOWS) * COARSE_HZ)
    length = next_fast_len(len(long) + size, real=True)
    spectrum = whitened(long, COARSE_HZ, length)
    times, offsets = [], []
    for start in np.linspace(0, len(short) - size, min(PROBES, len(short) // size)).astype(int):
        piece = whitened(short[start : start + size], COARSE_HZ, length)
        peak = find_peak(piece, spectrum, length, -size, len(long), COARSE_HZ)
        if peak.height >= PROBE_HEIGHT:
            times.append((start + size / 2) / COARSE_HZ)
            offsets.append((peak.lag - start) / COARSE_HZ)
    return np.array(times), np.array(offsets)


def _lines(times: Float64, offsets: Float64, max_drift: float) -> list[_Line]:
    """Lines through every two probes that a clock could draw."""
    lines = []
    for i, j in combinations(range(len(times)), 2):
        drift = (offsets[j] - offsets[i]) / (times[j] - times[i])
        if abs(drift) <= max_drift:
            lines.append(_Line(float(times[i]), float(offsets[i]), float(drift)))
    return lines


@dataclass(frozen=True)
class _Comparison:
    """Offsets (s) of windows, by the time (s) of their middle in the first recording."""

    times: Float64
    offsets: Float64


def _compare(one: Sound, two: Sound, line: _Line, reach_s: float) -> _Comparison:
    """Compare windows along a line; those without a clear peak are left out."""
    half = WINDOW_S / 2
    ends = len(one.samples) / RATE_HZ, len(two.samples) / RATE_HZ - line.offset
    begin, end = max(0.0, -line.offset) + half, min(ends) - half
    count = min(max(int((end - begin) / WINDOW_S), 0) + 1, MAX_WINDOWS)
    times, offsets = [], []
    for middle in np.linspace(begin, max(begin, end), count):
        first = round((middle - half) * RATE_HZ)
        numbers = np.arange(first, first + round(WINDOW_S * RATE_HZ))
        places = (numbers / RATE_HZ + line.at(numbers / RATE_HZ)) * RATE_HZ
        piece = one.samples[max(first, 0) : first + len(numbers)]
        if len(piece) < len(numbers):
            continue
        peak = local_peak(piece, _at(two.samples, places), round(reach_s * RATE_HZ), RATE_HZ)
        if peak.height >= MIN_HEIGHT:
            times.append(middle)
            offsets.append(float(line.at(np.array(middle))) + peak.lag / RATE_HZ)
    return _Comparison(np.array(times), np.array(offsets))


def _at(samples: Float32, places: Float64) -> Float32:
    """Samples at fractional places, by a cubic spline; silence outside."""
    margin = 16
    begin = max(int(places[0]) - margin, 0)
    near = samples[begin : max(int(places[-1]) + margin, begin)]
    if not len(near):
        return np.zeros(len(places), np.float32)
    found: Float32 = map_coordinates(near, [places - begin], order=3, mode="constant")
    return found


@dataclass(frozen=True)
class _FittedLine:
    line: _Line
    times: Float64
    residuals: Float64
    agreeing: npt.NDArray[np.bool_]

    @property
    def rms(self) -> float:
        kept = self.residuals[self.agreeing]
        freedom = max(len(kept) - 2, 1)
        return max(float(np.sqrt((kept**2).sum() / freedom)), FLOOR_S)

    def log10_nfa(self, reach_s: float) -> float:
        """Chance of as many windows on a line if their lags were anywhere within reach."""
        count, agreeing = len(self.agreeing), int(self.agreeing.sum())
        if agreeing <= 2:
            return 0.0
        tail = binom.logsf(agreeing - 3, count - 2, min(AGREEMENT_S / reach_s, 1.0))
        return float((tail + np.log(count**2)) / np.log(10))

    def covariance_ns(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Covariance of (offset ns, drift) at the line's origin."""
        elapsed = self.times[self.agreeing] - self.line.origin
        design = np.stack([np.ones_like(elapsed), elapsed], axis=1)
        matrix = np.linalg.pinv(design.T @ design) * self.rms**2
        scaled = matrix * np.outer([NS_PER_S, 1], [NS_PER_S, 1])
        (a, b), (c, d) = scaled.tolist()
        return (a, b), (c, d)


def _fit_line(comparison: _Comparison) -> _FittedLine:
    """Robust line: Huber's weights to settle, then Tukey's to let go of outliers."""
    times, offsets = comparison.times, comparison.offsets
    if len(times) < MIN_WINDOWS:
        raise _unrelated(f"only {len(times)} windows of {WINDOW_S:g} s show an agreement")
    centre = float(times.mean())
    design = np.stack([np.ones_like(times), times - centre], axis=1)
    weights = 1 / (1 + np.abs(offsets - np.median(offsets)) / AGREEMENT_S)
    for number in range(2 * ROUNDS):
        root = np.sqrt(weights)
        solution = np.linalg.lstsq(design * root[:, None], offsets * root, rcond=None)[0]
        misfit = offsets - design @ solution
        spread = max(float(np.median(np.abs(misfit))) * 1.4826, FLOOR_S)
        size = np.abs(misfit) / spread
        weights = (
            1 / np.maximum(size, 1) if number < ROUNDS else np.clip(1 - (size / TUKEY) ** 2, 0, 1)
        )
    line = _Line(centre, float(solution[0]), float(solution[1]))
    return _FittedLine(line, times, misfit, (np.abs(misfit) <= AGREEMENT_S) & (weights > 0))
