"""Recordings on one timeline by their sound, alone or together with flashes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from multiview.audio._alignment import MAX_DRIFT, RATE_HZ, AudioAlignment, align
from multiview.audio._errors import AudioSyncError
from multiview.audio._reader import Sound, read_sound
from multiview.timeline import Evidence, Timeline, TimelineSet, as_covariance

NS_PER_MS = 1e6
PLACEMENT_SIGMA_MS = 3.0  # sound takes 3 ms per metre, and files skew sound against pictures
LINE_SIGMA_NS = 30_000.0  # sound knows nothing of rows; sensors in use take 10 to 60 µs
UNKNOWN_LINE_SIGMA_NS = 1e6
MAX_DISAGREEMENT = 4.0  # standard deviations between flashes and sound


def read_sounds(
    filenames: Mapping[Any, str | Path], progress: Callable[[float], None] = lambda _: None
) -> dict[str, Sound]:
    """Return the sound of files at the rate that ``synchronize_audio`` compares at.

    Raises NoAudioError if a file has none.
    """
    sounds: dict[str, Sound] = {}
    for camera, path in filenames.items():
        sounds[str(camera)] = read_sound(Path(path), RATE_HZ)
        progress(len(sounds) / len(filenames))
    return sounds


def synchronize_audio(
    sounds: Mapping[str, Sound],
    base: str | None = None,
    *,
    max_drift: float = MAX_DRIFT,
    placement_sigma_ms: float = PLACEMENT_SIGMA_MS,
    progress: Callable[[float], None] = lambda _: None,
) -> TimelineSet:
    """Put recordings on the base recording's clock by the sound they share.

    What is measured is when sound arrives at each microphone and how the file stamps it. By how
    much that may differ from when light arrives (a metre is 2.9 ms) is ``placement_sigma_ms``.

    Raises NoAudioError for silence, UnrelatedAudioError if a recording does not belong.
    """
    reference = next(iter(sounds)) if base is None else base
    if reference not in sounds or len(sounds) < 2:
        raise AudioSyncError("at least two recordings are needed, the base among them")
    found: dict[str, AudioAlignment] = {}
    for name in sounds:
        if name != reference:
            found[name] = _align_named(name, sounds[reference], sounds[name], max_drift)
            progress(len(found) / (len(sounds) - 1))
    lines = {
        name: _timeline(found[name], placement_sigma_ms) if name in found else _base_line()
        for name in sounds
    }
    return TimelineSet(lines, reference, {"audio": {n: _verdict(a) for n, a in found.items()}})


def combine(flashes: TimelineSet, sound: TimelineSet) -> TimelineSet:
    """Fuse flash and audio timelines of the same cameras and base, each by its certainty.

    Cameras that only one of them knows keep what they have. Raises AudioSyncError if the two
    contradict each other by more than their uncertainties allow.
    """
    if flashes.reference != sound.reference:
        raise AudioSyncError(f"the bases differ: {flashes.reference} and {sound.reference}")
    lines = {**sound, **flashes}
    for name in flashes.keys() & sound.keys() - {flashes.reference}:
        heard = _without_rows(sound[name])
        distance = flashes[name].distance(heard)
        if distance > MAX_DISAGREEMENT:
            raise AudioSyncError(
                f"{name}: flashes and sound disagree by {distance:.1f} standard deviations",
                hint="microphones far apart or skewed sound: raise placement_sigma_ms or use one",
            )
        lines[name] = flashes[name].combined(heard)
    return TimelineSet(lines, flashes.reference, {**sound.extra, **flashes.extra})


def _align_named(name: str, base: Sound, sound: Sound, max_drift: float) -> AudioAlignment:
    try:
        return align(base, sound, max_drift)
    except AudioSyncError as error:
        raise type(error)(f"{name}: {error}", hint=error.hint) from error


def _base_line() -> Timeline:
    covariance = as_covariance(np.diag([0.0, 0.0, LINE_SIGMA_NS**2]))
    return Timeline(covariance=covariance, evidence=Evidence.AUDIO)


def _timeline(found: AudioAlignment, placement_sigma_ms: float) -> Timeline:
    """Invert the alignment: from the recording's clock to the base's."""
    covariance = np.zeros((3, 3))
    covariance[:2, :2] = found.covariance
    covariance[0, 0] += (placement_sigma_ms * NS_PER_MS) ** 2
    covariance[2, 2] = LINE_SIGMA_NS**2
    return Timeline(
        origin_ns=found.origin_ns + round(found.offset_ns),
        at_origin_ns=found.origin_ns,
        drift=-found.drift / (1 + found.drift),
        covariance=as_covariance(covariance),
        evidence=Evidence.AUDIO,
    )


def _without_rows(line: Timeline) -> Timeline:
    covariance = np.asarray(line.covariance).copy()
    covariance[2, 2] = UNKNOWN_LINE_SIGMA_NS**2
    return replace(line, covariance=as_covariance(covariance))


def _verdict(found: AudioAlignment) -> dict[str, float]:
    """What a person judges by, in plain numbers."""
    return {
        "windows": found.windows,
        "agreeing": found.agreeing,
        "rms_us": found.rms_ns / 1e3,
        "offset_sigma_us": found.covariance[0][0] ** 0.5 / 1e3,
        "drift_sigma_ppm": found.covariance[1][1] ** 0.5 * 1e6,
        "log10_nfa": found.log10_nfa,
    }
