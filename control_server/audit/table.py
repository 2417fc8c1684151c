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
    return Group(_cameras(result.cameras), _checks(result.checks), headline)


def _cameras(cameras: list[CameraResult]) -> Table:
    table = Table(title="Cameras", title_justify="left", box=None, pad_edge=False)
    table.add_column("camera")
    for column in ("slots", "delivered", "late", "missing"):
        table.add_column(column, justify="right")
    table.add_column("lost at")
    for column in ("grid p50", "p99", "max µs", "release p99 µs", "drift ppm", "clock ± µs"):
        table.add_column(column, justify="right")
    for camera in cameras:
        table.add_row(*_camera_row(camera))
    return table


def _camera_row(camera: CameraResult) -> tuple[str, ...]:
    grid, uncertainty = camera.grid_error, camera.clock.uncertainty
    return (
        camera.name,
        str(camera.slots),
        str(camera.delivered),
        str(camera.late),
        str(camera.missing.total),
        lost_at(camera) or "–",
        *(_us(value) for value in _percentiles(grid)),
        _us(camera.release_error.p99_ns if camera.release_error else None),
        "–" if camera.drift_ppm is None else f"{camera.drift_ppm:+.3f}",
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
    table = Table(title="Checks", title_justify="left", box=None, pad_edge=False)
    table.add_column("")
    table.add_column("check")
    table.add_column("measured", justify="right")
    table.add_column("limit", justify="right")
    table.add_column("what was found")
    for check in checks:
        mark, style = MARKS[check.verdict]
        table.add_row(
            f"[{style}]{mark}[/]",
            check.title,
            quantity(check.measured, check.unit),
            quantity(check.limit, check.unit),
            escape(check.sentence),
        )
    return table


def quantity(value: float | None, unit: str) -> str:
    """A measured value with its unit; counts as whole numbers."""
    if value is None:
        return ""
    number = f"{value:.1f}" if unit == "µs" else f"{value:.0f}"
    return f"{number} {unit}"
