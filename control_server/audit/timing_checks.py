"""Whether releases, exposures and clocks keep the plan's thresholds."""

from collections.abc import Iterable

from control_server.audit.findings import NS_PER_US, Findings, counted, listed, plural
from control_server.audit.result import Check, ClockSummary, Spread, Verdict


def timing_checks(found: Findings) -> Iterable[Check]:
    """Release error, grid error and skew: p99 against its limit."""
    limits = found.limits
    yield _p99(
        "release_error",
        "Release error p99",
        {camera.plan.name: camera.result.release_error for camera in found.cameras},
        limits.release_error_p99_us,
        "No camera released requests on the grid.",
    )
    yield _p99(
        "grid_error",
        "Grid error p99",
        {camera.plan.name: camera.result.grid_error for camera in found.cameras},
        limits.grid_error_p99_us,
        "There are no frames.",
    )
    yield _p99(
        "skew",
        "Skew p99",
        {"Between cameras": found.skew},
        limits.skew_p99_us,
        "No slot has frames of two cameras.",
    )


def _p99(
    name: str, title: str, spreads: dict[str, Spread | None], limit_us: float, nothing: str
) -> Check:
    """The worst camera's p99 against a limit."""
    known = {camera: spread for camera, spread in spreads.items() if spread is not None}
    if not known:
        return Check(name=name, title=title, verdict=Verdict.SKIPPED, sentence=nothing)
    worst = max(known, key=lambda camera: known[camera].p99_ns)
    label = f"Worst is {worst}" if len(spreads) > 1 else worst
    p50, p99, largest = (
        value / NS_PER_US
        for value in (known[worst].p50_ns, known[worst].p99_ns, known[worst].max_ns)
    )
    return Check(
        name=name,
        title=title,
        verdict=Verdict.PASS if p99 <= limit_us else Verdict.FAIL,
        measured=p99,
        limit=limit_us,
        unit="µs",
        sentence=f"{label}: p50 {p50:.1f}, p99 {p99:.1f}, max {largest:.1f} µs.",
    )


def clock_checks(found: Findings) -> Iterable[Check]:
    """Whether the clocks that timed the frames can be trusted."""
    clocks = {camera.plan.name: camera.result.clock for camera in found.cameras}
    yield _check_uncertainty(clocks, found.limits.clock_uncertainty_us)
    steps = {camera: clock.steps for camera, clock in clocks.items() if clock.steps}
    largest_us = max(clock.largest_step_ns for clock in clocks.values()) / NS_PER_US
    yield counted(
        "clock_steps",
        "Clock never stepped",
        sum(steps.values()),
        "steps",
        good="No clock was stepped during the session.",
        bad=f"Clocks were stepped, by up to {largest_us:.1f} µs: {listed(list(steps))}",
    )
    yield _check_discipline(clocks)


def _check_uncertainty(clocks: dict[str, ClockSummary], limit_us: float) -> Check:
    title = "Clock uncertainty"
    known = {
        camera: clock.uncertainty.max_ns / NS_PER_US
        for camera, clock in clocks.items()
        if clock.uncertainty is not None
    }
    if not known:
        nothing = "There are no frames."
        return Check(
            name="clock_uncertainty", title=title, verdict=Verdict.SKIPPED, sentence=nothing
        )
    worst = max(known, key=lambda camera: known[camera])
    return Check(
        name="clock_uncertainty",
        title=title,
        verdict=Verdict.PASS if known[worst] <= limit_us else Verdict.FAIL,
        measured=known[worst],
        limit=limit_us,
        unit="µs",
        sentence=f"Largest is {known[worst]:.1f} µs, on {worst}.",
    )


def _check_discipline(clocks: dict[str, ClockSummary]) -> Check:
    free = {camera: clock.unsynchronised for camera, clock in clocks.items()}
    total = sum(free.values())
    sources = sorted({source for clock in clocks.values() for source in clock.sources})
    where = listed([camera for camera, count in free.items() if count])
    held = sum(clock.holdover for clock in clocks.values())
    sound = f"Every frame was timed by a disciplined clock ({', '.join(sources) or 'no log'})"
    return Check(
        name="clock_discipline",
        title="Clock disciplined",
        verdict=Verdict.UNKNOWN if total else Verdict.PASS,
        measured=total,
        limit=0,
        unit="frames",
        sentence=f"{plural(total, 'frame')} timed by a clock that nothing disciplined: {where}"
        if total
        else f"{sound}, {plural(held, 'frame')} of them in holdover."
        if held
        else f"{sound}.",
    )
