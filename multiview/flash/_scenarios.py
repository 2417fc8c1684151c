"""Footage of known truth for the situations that flash synchronisation meets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import numpy as np

from multiview.flash._features import NS_PER_S
from multiview.flash._synthetic import Flash, FlashFootage, RollingShutterCamera

NTSC = Fraction(30000, 1001)
FLASHES = 12
CLOSEST_S = 0.8  # a studio flash recharges at least that long
CLIP_S = 60


def scenario(name: str, seed: int = 0) -> FlashFootage:
    """Return the footage called ``name`` (see SCENARIOS), the same for the same seed."""
    return SCENARIOS[name](seed)


def _plain(seed: int) -> FlashFootage:
    """Three cameras of 30, 25 and 29.97 fps, started seconds apart, ±50 ppm, twelve flashes."""
    rng = np.random.default_rng(seed)
    starts = rng.uniform(-4, 4, 2)
    cameras = (
        _camera("cam1", Fraction(30), 0.0, 0, 55_000.0, seed),
        _camera("cam2", Fraction(25), starts[0], 50, 68_000.0, seed + 1),
        _camera("cam3", NTSC, starts[1], -50, 40_000.0, seed + 2),
    )
    return FlashFootage("plain", cameras, _flashes(rng, FLASHES), seed=seed)


def _short_readout(seed: int) -> FlashFootage:
    """Sensors that read out in 16 ms: about a third of the flashes falls between frames."""
    return _with_cameras("short-readout", _plain(seed), line_time_ns=30_000.0, exposure_ns=8e6)


def _variable_rate(seed: int) -> FlashFootage:
    """A fifth of the frames lasts half as long again, and a twentieth is missing."""
    return _with_cameras("variable-rate", _plain(seed), slow_frames=0.2, drops=0.05)


def _local_first(seed: int) -> FlashFootage:
    """One camera sees a flash of its own before the first common one."""
    plain = _plain(seed)
    first = min(flash.onset_ns for flash in plain.flashes)
    own = Flash(first - round(1.3 * NS_PER_S), seen_by=frozenset({"cam2"}))
    return replace(plain, name="local-first", flashes=(own, *plain.flashes))


def _exposures(seed: int) -> FlashFootage:
    """Exposure times of 2, 8 and 16 ms."""
    plain = _plain(seed)
    times = (2e6, 8e6, 16e6)
    cameras = tuple(
        replace(camera, exposure_ns=time) for camera, time in zip(plain.cameras, times, strict=True)
    )
    return replace(plain, name="exposures", cameras=cameras)


def _local_flashes(seed: int) -> FlashFootage:
    """Besides the common flashes, each camera sees six of its own."""
    plain = _plain(seed)
    rng = np.random.default_rng(seed + 1000)
    own = [
        replace(flash, seen_by=frozenset({camera.name}))
        for camera in plain.cameras
        for flash in _flashes(rng, 6)
    ]
    return replace(plain, name="local-flashes", flashes=(*plain.flashes, *own))


def _none_common(seed: int) -> FlashFootage:
    """Every camera sees twelve flashes, none of them common: no answer is right."""
    plain = _plain(seed)
    rng = np.random.default_rng(seed + 2000)
    own = tuple(
        replace(flash, seen_by=frozenset({camera.name}))
        for camera in plain.cameras
        for flash in _flashes(rng, FLASHES)
    )
    return replace(plain, name="none-common", flashes=own, solvable=False)


def _periodic(seed: int) -> FlashFootage:
    """A flash every 3.987 seconds exactly: every shift by as much is as good."""
    plain = _plain(seed)
    flashes = tuple(Flash(round((1.7 + 3.987 * n) * NS_PER_S)) for n in range(FLASHES + 2))
    return replace(plain, name="periodic", flashes=flashes, solvable=False)


def _upside_down(seed: int) -> FlashFootage:
    """The second camera hung upside down, so its rows were read bottom first."""
    plain = _plain(seed)
    first, second, third = plain.cameras
    cameras = (first, replace(second, upside_down=True), third)
    return replace(plain, name="upside-down", cameras=cameras)


SCENARIOS: dict[str, Callable[[int], FlashFootage]] = {
    "plain": _plain,
    "short-readout": _short_readout,
    "variable-rate": _variable_rate,
    "local-first": _local_first,
    "exposures": _exposures,
    "local-flashes": _local_flashes,
    "none-common": _none_common,
    "periodic": _periodic,
    "upside-down": _upside_down,
}


def _camera(
    name: str, fps: Fraction, start_s: float, ppm: float, line_ns: float, seed: int
) -> RollingShutterCamera:
    return RollingShutterCamera(
        name,
        fps,
        start_ns=round(start_s * NS_PER_S),
        drift_ppm=ppm,
        line_time_ns=line_ns,
        exposure_ns=10e6,
        seed=seed,
    )


def _with_cameras(name: str, footage: FlashFootage, **changes: float) -> FlashFootage:
    # one typed field each; mypy cannot see through replace's keywords
    cameras = tuple(replace(camera, **changes) for camera in footage.cameras)  # type: ignore[arg-type]
    return replace(footage, name=name, cameras=cameras)


def _flashes(rng: np.random.Generator, count: int) -> tuple[Flash, ...]:
    """Random flashes over the time that all cameras film."""
    slack = CLIP_S - 10 - CLOSEST_S * count
    onsets = 5 + np.sort(rng.uniform(0, slack, count)) + CLOSEST_S * np.arange(count)
    return tuple(
        Flash(
            round(onset * NS_PER_S),
            strength=rng.uniform(0.5, 1.5),
            decay_ns=rng.uniform(3e5, 9e5),
        )
        for onset in onsets
    )
