"""`manager start`, `stop` and `restart`."""

from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

import typer

from capture_protocol import InputError
from capture_protocol.grid import NS_PER_S
from control_server.commands.shared import (
    JsonOption,
    RigOption,
    console,
    print_json,
    progress_printer,
)
from control_server.errors import RigError
from control_server.manager.process import ask
from control_server.manager.requests import LONGEST_S, MOST_SLOTS, StartRequest, StopRequest
from control_server.rig.place import RigPlace, find_rig

DurationOption = Annotated[
    float | None,
    typer.Option("--duration", min=0.001, max=LONGEST_S, help="Seconds to record."),
]
FramesOption = Annotated[
    int | None, typer.Option("--frames", min=1, max=MOST_SLOTS, help="Slots to record.")
]
AtOption = Annotated[
    str | None, typer.Option("--at", help="t0 as UTC: 2026-05-01T12:00:00, or seconds since 1970.")
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Record although preflight complains; frames are marked.")
]


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("start")(start)
    app.command("stop")(stop)
    app.command("restart")(restart)


def start(
    duration: DurationOption = None,
    frames: FramesOption = None,
    at: AtOption = None,
    force: ForceOption = False,
    rig: RigOption = None,
    json: JsonOption = False,
) -> None:
    """Record a session; returns when video has appeared on every camera.

    Example: manager start --duration 60
    """
    request = StartRequest(
        duration_s=duration, frames=frames, at_ns=None if at is None else parse_utc(at), force=force
    )
    result = _start(find_rig(rig), request)
    print_json(result) if json else _show_started(result)


def stop(rig: RigOption = None, json: JsonOption = False) -> None:
    """End the session on the same frame of every camera; returns when it is sealed.

    Example: manager stop
    """
    result = _stop(find_rig(rig))
    print_json(result) if json else _show_stopped(result)
    _require_complete(result)


def restart(
    duration: DurationOption = None,
    frames: FramesOption = None,
    force: ForceOption = False,
    rig: RigOption = None,
    json: JsonOption = False,
) -> None:
    """End the running session and record the next one.

    Example: manager restart --duration 60
    """
    place = find_rig(rig)
    request = StartRequest(duration_s=duration, frames=frames, force=force)
    stopped = _stop(place)
    if not json:
        _show_stopped(stopped)
    started = _start(place, request)
    print_json({"stopped": stopped, "started": started}) if json else _show_started(started)


def parse_utc(text: str) -> int:
    """A UTC in ns from ISO 8601 (UTC unless it names an offset) or seconds since 1970.

    Raises:
        InputError: neither.
    """
    try:
        return int(Decimal(text) * NS_PER_S)
    except (InvalidOperation, ValueError, OverflowError):
        pass
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(
            f"{text!r} is no time", hint="write it as 2026-05-01T12:00:00 (UTC)"
        ) from error
    since = (time if time.tzinfo else time.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * NS_PER_S + since.microseconds * 1000


def _start(place: RigPlace, request: StartRequest) -> dict[str, Any]:
    if request.frames is not None and request.duration_s is not None:
        raise InputError("--frames and --duration say the same thing", hint="give one of them")
    return ask(place, request, progress_printer())


def _stop(place: RigPlace) -> dict[str, Any]:
    return ask(place, StopRequest(), progress_printer())


def _show_started(result: dict[str, Any]) -> None:
    cameras = ", ".join(result["cameras"])
    length = f"{result['frames']} slots" if result["frames"] else "until manager stop"
    console.print(f"[bold]session {result['session']}[/bold] records on {cameras}: {length}")
    console.print(f"  {result['rate']} fps, in {result['folder']}")


def _show_stopped(result: dict[str, Any]) -> None:
    console.print(f"[bold]session {result['session']}[/bold] ended with slot {result['last_slot']}")
    for camera in result["cameras"]:
        parts = f", {camera['parts']} parts" if camera["parts"] != 1 else ""
        console.print(
            f"  {camera['camera']}: {camera['frames']} frames, {camera['missing']} missing{parts}"
        )
    console.print(f"  sealed in {result['folder']}")


def _require_complete(result: dict[str, Any]) -> None:
    if not result["complete"]:
        raise RigError(
            f"session {result['session']} is sealed incomplete: {result['reason']}",
            hint="when the node comes back, what it still holds is taken in",
        )
