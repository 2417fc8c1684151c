"""What commands show to people: rich tables made from the same models that --json prints."""

from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from control_server.manager.requests import (
    CameraStatus,
    NodeStatus,
    Preflight,
    SessionStatus,
    Status,
)
from control_server.segmenter.admission import MIB
from control_server.session.catalogue import CatalogueEntry

_LOCK_STYLES = {"locked": "green", "pulling": "yellow", "holdover": "yellow"}
_VERDICT_STYLES = {"ok": "green", "warning": "yellow", "failed": "bold red"}
_STATE_STYLES = {"complete": "green", "incomplete": "red", "damaged": "red", "open": "yellow"}


def status_view(status: Status) -> RenderableType:
    """`manager status`."""
    parts: list[RenderableType] = [
        _head(status),
        _session_line(status),
        Text(),
        _cameras(status.cameras),
        Text(),
        _nodes(status.nodes),
        *_problems(status),
    ]
    for title, counts in (
        ("refused peers", status.refused_peers),
        ("refused datagrams", status.refused_datagrams),
    ):
        if counts:
            listed = ", ".join(f"{reason} {count}" for reason, count in sorted(counts.items()))
            parts.append(Text(f"{title}: {listed}", "yellow"))
    parts += [Text(f"! {advice}", "bold red") for advice in status.advice]
    return Group(*parts)


def preflight_table(found: Preflight) -> RenderableType:
    """`manager preflight`."""
    table = _table("node", "point", "verdict", "finding", "what to do")
    for check in found.checks:
        verdict = Text(check.verdict, _VERDICT_STYLES[check.verdict])
        table.add_row(check.where, check.point, verdict, check.detail, check.hint)
    return table


def journal_lines(found: Preflight) -> list[str]:
    """`manager preflight --log`: what is not ok, then the sum; "<3>" is sd-daemon(3)'s "error"."""
    marked = {"failed": "<3>", "warning": "<4>"}
    lines = [
        f"{marked[check.verdict]}{check.name}: {check.detail}; {check.hint}".removesuffix("; ")
        for check in found.checks
        if check.verdict in marked
    ]
    state = "a session cannot start" if found.failed else "a session can start"
    return [*lines, f"<6>{len(found.checks)} points, {len(found.failed)} failed: {state}"]


def sessions_table(entries: list[CatalogueEntry]) -> RenderableType:
    """`manager sessions`."""
    if not entries:
        return Text("no sessions yet; record one with: manager start")
    table = _table("session", "state", "t0 (UTC)", "fps", "slots", "cameras", "frames", "missing")
    table.add_column("note")
    for entry in entries:
        table.add_row(
            str(entry.session),
            Text(entry.state, _STATE_STYLES.get(entry.state, "")),
            _utc(entry.t0_ns),
            entry.rate,
            "" if entry.slots is None else str(entry.slots),
            str(entry.cameras),
            str(entry.frames),
            str(entry.missing),
            entry.note,
        )
    return table


def _head(status: Status) -> Text:
    return Text(
        f"rig {status.rig}: manager process {status.pid} on {status.listen}, "
        f"{status.free_bytes // MIB} MB free in {status.storage}"
    )


def _session_line(status: Status) -> Text:
    session = status.session
    if session is None:
        last = f"; the last was {status.last_session}" if status.last_session else ""
        return Text(f"no session runs{last}")
    return Text(_session_text(session), "bold")


def _session_text(session: SessionStatus) -> str:
    text = (
        f"session {session.session} {session.phase}: slot {session.slot_now}, "
        f"{session.elapsed_s:.1f} s at {session.rate} fps, {session.segments} segments closed"
    )
    if session.last_slot is not None:
        text += f", last slot {session.last_slot}"
    if session.skew_estimate_us is not None:
        text += f", skew ≈ {session.skew_estimate_us:.1f} µs"
    return "\n".join([text, *(f"  waiting for {what}" for what in session.waiting_for)])


def _cameras(cameras: list[CameraStatus]) -> Table:
    table = _table("camera", "node", "lock", "µs", "seen", "sent", "filed", "lost", "late")
    for title in ("spool MB", "part"):
        table.add_column(title)
    for camera in cameras:
        phase = "" if camera.phase_error_us is None else f"{camera.phase_error_us:+.1f}"
        table.add_row(
            camera.camera,
            camera.node,
            Text(camera.lock, _LOCK_STYLES.get(camera.lock, "")),
            phase,
            str(camera.captured),
            str(camera.sent),
            str(camera.delivered),
            Text(str(camera.lost), "red" if camera.lost else ""),
            str(camera.late),
            f"{camera.spool_bytes / MIB:.1f}",
            str(camera.parts) if camera.connected else "-",
        )
    return table


def _nodes(nodes: list[NodeStatus]) -> Table:
    table = _table("node", "state", "heard", "clock", "release")
    for node in nodes:
        age = "never" if node.heartbeat_age_s is None else f"{node.heartbeat_age_s:.1f} s ago"
        clock = (
            f"{node.clock_source} {node.clock_offset_ns / 1000:+.1f} "
            f"± {node.clock_uncertainty_ns / 1000:.1f} µs"
        )
        table.add_row(
            node.node,
            node.state,
            Text(age, "" if node.heard else "red"),
            clock if node.heard else "",
            node.release_mode,
        )
    return table


def _problems(status: Status) -> list[Text]:
    """One line for everything that cameras and nodes complain about."""
    told = [(camera.camera, camera.problem) for camera in status.cameras]
    told += [(node.node, node.clock_problem) for node in status.nodes]
    return [Text(f"{name}: {problem}", "red") for name, problem in told if problem]


def _table(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in titles:
        table.add_column(title)
    return table


def _utc(time_ns: int | None) -> str:
    if time_ns is None:
        return ""
    return f"{datetime.fromtimestamp(time_ns // 1_000_000_000, UTC):%Y-%m-%d %H:%M:%S}"
