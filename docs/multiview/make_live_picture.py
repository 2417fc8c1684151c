"""Draws live-clock.svg: what the sender clock makes of an outlier, a wrong step and its return.

Run from the repository: ``python docs/multiview/make_live_picture.py``. The reports are made up,
the curve is what multiview.live computes of them.
"""

from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

from multiview.live._reports import ClockPoint
from multiview.live._sender_clock import SenderClock

S = 1_000_000_000
LATENCY_NS = 50_000_000
OUTLIER_S, WRONG_S, RIGHT_S, END_S = 30, 60, 90, 120
STEP_MS = 400.0
FAR_STEP_MS = -400.0


def report_error_ms(second: int, rng: np.random.Generator) -> float:
    """How far a report is from the truth: an outlier, then a clock that runs ahead for a while."""
    noise = rng.normal(0, 1.0)
    if second == OUTLIER_S:
        return FAR_STEP_MS + noise
    return (STEP_MS if WRONG_S <= second < RIGHT_S else 0.0) + noise


def main() -> None:
    """Feed the clock and draw what it says every 0.2 s."""
    rng = np.random.default_rng(7)
    clock = SenderClock()
    reports, stamps = [], []
    for second in range(0, END_S, 5):
        error_ms = report_error_ms(second, rng)
        clock.add(ClockPoint(second * S, second * S + round(error_ms * 1e6)), LATENCY_NS)
        reports.append((second, error_ms))
        for moment in np.arange(second, second + 5, 0.2):
            stamp = clock.stamp(round(moment * S))
            stamps.append((moment, stamp.time_ns / 1e6 - moment * 1e3, stamp.bound_ns / 1e6))
    draw(np.array(reports), np.array(stamps))
    for finding in clock.findings:
        print(f"{finding.source_ns / S:.0f} s: {finding.verdict}, {finding.step_ns / 1e6:.0f} ms")


def draw(reports: np.ndarray, stamps: np.ndarray) -> None:
    """Reports as dots, stated times as a line within their bound."""
    mpl.rcParams["svg.hashsalt"] = "live-clock"  # the same file every time
    figure, axes = plt.subplots(figsize=(8, 3.2), layout="constrained")
    moment, error_ms, bound_ms = stamps.T
    axes.fill_between(
        moment, error_ms - bound_ms, error_ms + bound_ms, alpha=0.25, label="99 % bound"
    )
    axes.plot(moment, error_ms, label="stated time")
    axes.plot(*reports.T, "k.", label="sender reports")
    axes.set(xlabel="stream time, s", ylabel="error, ms", xlim=(0, END_S), ylim=(-620, 480))
    axes.legend(loc="lower right", ncols=3, frameon=False)
    target = Path(__file__).with_name("live-clock.svg")
    figure.savefig(target, metadata={"Date": None})


if __name__ == "__main__":
    main()
