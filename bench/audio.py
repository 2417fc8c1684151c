"""Audio synchronisation: offset and drift against the truth, and what is refused.

Two microphones hear the same speech-like event of ten minutes, one started seconds later, its
clock 50 ppm fast, both with independent noise; also in a room with an echo of its own each.
"""

import argparse
import json
import time
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.__main__ import RESULTS, machine
from capture_protocol import publish_text
from multiview.audio import (
    RATE_HZ,
    AudioSyncError,
    HeardEvent,
    Microphone,
    Sound,
    align,
    true_offset_ns,
)

OFFSET_AIM_MS, DRIFT_AIM_PPM = 1.0, 5.0
DRIFT_PPM = 50.0
CASES = {  # signal-to-noise ratio (dB), echo
    "10 dB": (10.0, 0.0),
    "10 dB, echo": (10.0, 0.7),
    "0 dB": (0.0, 0.0),
}


def run(minutes: float = 10, seeds: int = 3) -> dict[str, Any]:
    """Align recordings of known truth."""
    cases = [
        _measure(name, snr_db, echo, seed, minutes)
        for name, (snr_db, echo) in CASES.items()
        for seed in range(seeds)
    ]
    return {"minutes": minutes, "cases": cases, "refusals": _refusals(minutes)}


def _measure(name: str, snr_db: float, echo: float, seed: int, minutes: float) -> dict[str, Any]:
    event = HeardEvent(minutes * 60, RATE_HZ, seed)
    one = Microphone(0.0, 0.0, snr_db, 0.0, seed=seed + 10)
    two = Microphone(3.7 + seed, DRIFT_PPM, snr_db, echo, seed=seed + 20)
    recordings = event.recorded(one), event.recorded(two)
    begin = time.perf_counter()
    found = align(*recordings)
    taken_s = time.perf_counter() - begin
    times = np.linspace(0, minutes * 60e9, 61)
    errors = [
        found.offset_ns + found.drift * (own - found.origin_ns) - true_offset_ns(one, two, own)
        for own in times
    ]
    return {
        "case": name,
        "seed": seed,
        "rms_ms": float(np.sqrt(np.mean(np.square(errors)))) / 1e6,
        "drift_error_ppm": found.drift * 1e6 - DRIFT_PPM,
        "windows": f"{found.agreeing}/{found.windows}",
        "taken_s": taken_s,
    }


def _refusals(minutes: float) -> dict[str, str]:
    """What is said of unrelated sound and of silence."""
    seconds = min(minutes, 2) * 60
    heard = HeardEvent(seconds, RATE_HZ, 1).recorded(Microphone())
    others = {
        "unrelated": HeardEvent(seconds, RATE_HZ, 2).recorded(Microphone(seed=2)),
        "silence": Sound(np.zeros_like(heard.samples), RATE_HZ),
    }
    return {name: _said(heard, other) for name, other in others.items()}


def _said(one: Sound, two: Sound) -> str:
    try:
        align(one, two)
    except AudioSyncError as error:
        return f"refused: {error}"
    return "ACCEPTED"


def table(results: dict[str, Any]) -> Table:
    """Return the measurements beside what was aimed at."""
    heads = (
        "sound",
        f"RMS error ms (aim {OFFSET_AIM_MS})",
        f"drift error ppm (aim {DRIFT_AIM_PPM})",
    )
    shown = Table(*heads, "windows", "s", title=f"{results['minutes']:g} minutes, 50 ppm")
    for row in results["cases"]:
        numbers = (f"{row['rms_ms']:.4f}", f"{row['drift_error_ppm']:+.3f}")
        shown.add_row(row["case"], *numbers, row["windows"], f"{row['taken_s']:.1f}")
    for name, said in results["refusals"].items():
        shown.add_row(name, said, "refusal wanted")
    return shown


def main() -> None:
    """Run by itself: `make bench-audio`."""
    parser = argparse.ArgumentParser(prog="python -m bench.audio", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args()
    results = {"machine": machine(), "audio": run(chosen.minutes, chosen.seeds)}
    Console(width=140).print(table(results["audio"]))
    RESULTS.mkdir(exist_ok=True)
    publish_text(RESULTS / "audio.json", json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
