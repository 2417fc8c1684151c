"""How exactly releases hit their instants: our timer beside the usual ways, in the same run.

Every way gets the same number of instants at 30 Hz, in short turns, so that all of them meet the
same load of the machine. Errors are release minus target, in µs. The ways:

* ``time.sleep`` to the instant,
* ``clock_nanosleep`` with an absolute time,
* a POSIX timer whose signal a Python handler takes (the signal design),
* ours: sleep to shortly before the instant, then spin, with SCHED_FIFO where it is granted.
"""

import ctypes
import gc
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from rich.table import Table

from capture_protocol.rig import RealtimeSection
from edge_agent.capture import ReleaseTimer, sleep_until, take_rights

_PERIOD_NS = 1_000_000_000 // 30
_TURN_RELEASES = 30  # one second per turn
_START_NS = 5_000_000
_CLOCK_MONOTONIC = 1
_TIMER_ABSTIME = 1
_NS_PER_S = 1_000_000_000

Way = Callable[[list[int]], list[int]]


class _Timespec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


def run(seconds: float = 20.0) -> dict[str, Any]:
    """Measure for about ``seconds``; runs in a child, because SCHED_FIFO sticks to a process."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_measure, args=(theirs, seconds))
    child.start()
    result: dict[str, Any] = ours.recv()
    child.join()
    return result


def table(result: dict[str, Any]) -> Table:
    """The result for a terminal."""
    shown = Table(title=f"release error in µs, 30 Hz ({result['mode']})")
    for column in ("way", "releases", "p50", "p99", "max"):
        shown.add_column(column, justify="left" if column == "way" else "right")
    for name, row in result["ways"].items():
        numbers = (f"{row[key]:.1f}" for key in ("p50_us", "p99_us", "max_us"))
        shown.add_row(name, str(row["releases"]), *numbers)
    shown.caption = f"p99 {result['p99_gain']:.0f} times better than the signal design"
    return shown


def _measure(pipe: Any, seconds: float) -> None:
    ways: dict[str, Way] = {
        "time.sleep": _by_sleep,
        "clock_nanosleep": _by_nanosleep,
        "POSIX timer + signal": _by_signal,
        "ours": _by_release_timer,
    }
    errors: dict[str, list[int]] = {name: [] for name in ways}
    mode = ""
    for _ in range(max(1, round(seconds / len(ways)))):
        for name, way in ways.items():
            if name == "ours":
                mode = str(take_rights(RealtimeSection()))
            first_ns = time.monotonic_ns() + _START_NS
            targets = [first_ns + _PERIOD_NS * n for n in range(_TURN_RELEASES)]
            errors[name] += way(targets)
            if name == "ours":
                _give_rights_back()
    rows = {name: _summary(found) for name, found in errors.items()}
    gain = rows["POSIX timer + signal"]["p99_us"] / max(rows["ours"]["p99_us"], 1e-3)
    pipe.send({"mode": mode, "ways": rows, "p99_gain": gain})


def _give_rights_back() -> None:
    gc.enable()
    if os.sched_getscheduler(0) != os.SCHED_OTHER:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def _by_sleep(targets: list[int]) -> list[int]:
    errors = []
    for target_ns in targets:
        time.sleep(max(0, target_ns - time.monotonic_ns()) / _NS_PER_S)
        errors.append(time.monotonic_ns() - target_ns)
    return errors


def _by_nanosleep(targets: list[int]) -> list[int]:
    errors = []
    for target_ns in targets:
        sleep_until(target_ns)
        errors.append(time.monotonic_ns() - target_ns)
    return errors


def _by_release_timer(targets: list[int]) -> list[int]:
    timer = ReleaseTimer(RealtimeSection().spin_us)
    return [timer.wait(target_ns) - target_ns for target_ns in targets]


def _by_signal(targets: list[int]) -> list[int]:
    """Signals coalesce, so each one is counted for the latest instant that has passed."""
    libc = ctypes.CDLL(None, use_errno=True)
    errors: list[int] = []

    def handle(_number: int, _frame: object) -> None:
        now_ns = time.monotonic_ns()
        errors.append((now_ns - targets[0]) % _PERIOD_NS)

    before = signal.signal(signal.SIGALRM, handle)
    timer = ctypes.c_void_p()
    libc.timer_create(_CLOCK_MONOTONIC, None, ctypes.byref(timer))
    first = _Timespec(*divmod(targets[0], _NS_PER_S))
    spec = _Itimerspec(_Timespec(0, _PERIOD_NS), first)
    libc.timer_settime(timer, _TIMER_ABSTIME, ctypes.byref(spec), None)
    while time.monotonic_ns() < targets[-1] + _PERIOD_NS // 2:
        signal.pause()
    libc.timer_delete(timer)
    signal.signal(signal.SIGALRM, before)
    return errors


def _summary(errors_ns: list[int]) -> dict[str, Any]:
    p50, p99, worst = np.percentile(np.abs(errors_ns), (50, 99, 100)) / 1e3
    return {
        "releases": len(errors_ns),
        "p50_us": round(float(p50), 2),
        "p99_us": round(float(p99), 2),
        "max_us": round(float(worst), 2),
    }
