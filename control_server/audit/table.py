"""The audit's answer for a terminal."""

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from control_server.audit.result import AuditResult, CameraResult, Check, Spread, Verdict

MARKS = {
    Verdict.PASS: ("✓", "green"),
    Verdict.FAIL: ("✗", "bold red"),
    Verdict.UNKNOWN: ("?", "bold yellow"),
    Verdict.SKIPPED: ("–", "dim"),
}
HEADLINES = {Verdict.PASS: "PASS", Verdict.FAIL: "FAIL", Verdict.UNKNOWN: "CANNOT SAY"}


def render_result(result: AuditResult) -> RenderableType:
    """Verdict, cameras and checks."""
    _, style = MARKS[result.verdict]
    headline = Text.assemble(
        (f" {HEADLINES[result.verdict]} ", f"reverse {style}"),
        f" session {result.session}: {result.sentence}",
    )
    return Group(_cameras(result.cameras), "", _checks(result.checks), "", headline)


def _cameras(cameras: list[CameraResult]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("camera")
    table.add_column("slots", justify="right")
    table.add_column("missing", justify="right")
    for column in ("late", "grid µs p50", "p99", "max", "release p99", "drift ppm", "clock ±"):
        table.add_column(column, justify="right")
    for camera in cameras:
        table.add_row(*_camera_row(camera))
    return table


def _camera_row(camera: CameraResult) -> tuple[str, ...]:
    uncertainty = camera.clock.uncertainty
    return (
        camera.name,
        f"{camera.delivered}/{camera.slots}",
        lost_at(camera) or "0",
        str(camera.late),
        *(_us(value) for value in _percentiles(camera.grid_error)),
        _us(camera.release_error.p99_ns if camera.release_error else None),
        "–" if camera.drift_ppm is None else f"{camera.drift_ppm:+.2f}",
        _us(uncertainty.max_ns if uncertainty else None),
    )


def lost_at(camera: CameraResult) -> str:
    """Missing slots by place, "sensor 3, network 1"; empty if there are none."""
    places = camera.missing.model_dump()
    return ", ".join(f"{place} {count}" for place, count in places.items() if count)


def _percentiles(spread: Spread | None) -> tuple[int | None, int | None, int | None]:
    if spread is None:
        return None, None, None
    return spread.p50_ns, spread.p99_ns, spread.max_ns


def _us(value_ns: int | None) -> str:
    return "–" if value_ns is None else f"{value_ns / 1000:.1f}"


def _checks(checks: list[Check]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column()
    table.add_column(no_wrap=True)
    table.add_column()
    for check in checks:
        mark, style = MARKS[check.verdict]
        limit = quantity(check.limit, check.unit) if check.limit else ""
        allowed = f" [dim](limit {limit})[/]" if limit else ""
        table.add_row(f"[{style}]{mark}[/]", check.title, escape(check.sentence) + allowed)
    return table


def quantity(value: float | None, unit: str) -> str:
    """A measured value with its unit; counts as whole numbers."""
    if value is None:
        return ""
    decimals = 1 if unit == "µs" and value < 100 else 0  # below that, tenths are of interest
    return f"{value:,.{decimals}f} {unit}"
