"""`manager status`, `sessions` and `preflight`."""

import sys
import time
from typing import Annotated

import typer

from control_server.commands.shared import (
    JsonOption,
    RigOption,
    console,
    print_json,
    progress_printer,
)
from control_server.manager.process import ask
from control_server.manager.requests import Preflight, PreflightRequest, Status, StatusRequest
from control_server.manager.views import (
    journal_lines,
    preflight_table,
    sessions_table,
    status_view,
)
from control_server.rig.place import RigPlace, find_rig
from control_server.session.catalogue import catalogue

REFRESH_S = 0.5


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("status")(status)
    app.command("sessions")(sessions)
    app.command("preflight")(preflight)


def status(
    watch: Annotated[bool, typer.Option("--watch", help="Stay and show it live.")] = False,
    rig: RigOption = None,
    json: JsonOption = False,
) -> None:
    """Show rig, server, session, cameras and nodes.

    Example: manager status --watch
    """
    place = find_rig(rig)
    if watch:
        _watch(place, json)
    elif json:
        print_json(_ask_status(place).model_dump(mode="json"))
    else:
        console.print(status_view(_ask_status(place)))


def sessions(rig: RigOption = None, json: JsonOption = False) -> None:
    """List all sessions and how they ended.

    Example: manager sessions
    """
    entries = catalogue(find_rig(rig).storage)
    if json:
        print_json([entry.model_dump(mode="json") for entry in entries])
    else:
        console.print(sessions_table(entries))


def preflight(
    log: Annotated[
        bool,
        typer.Option("--log", help="What is not ok as lines for the journal; silent in a session."),
    ] = False,
    rig: RigOption = None,
    json: JsonOption = False,
) -> None:
    """Say whether a session could start now; exits 0 only if so.

    Example: manager preflight
    """
    place = find_rig(rig)
    if log and _ask_status(place).session is not None:
        return
    found = Preflight.model_validate(ask(place, PreflightRequest(), progress_printer()))
    if log:
        print("\n".join(journal_lines(found)))
    elif json:
        print_json({"ok": not found.failed, **found.model_dump(mode="json")})
    else:
        console.print(preflight_table(found))
    if found.failed:
        sys.exit(found.failed[0].exit_code)


def _ask_status(place: RigPlace) -> Status:
    return Status.model_validate(ask(place, StatusRequest(), lambda _: None))


def _watch(place: RigPlace, json: bool) -> None:
    """Live until interrupted: a picture for people, one line of JSON per look for programs."""
    from rich.live import Live

    if json:
        while True:
            print(_ask_status(place).model_dump_json(), flush=True)
            time.sleep(REFRESH_S)
    with Live(status_view(_ask_status(place)), console=console, auto_refresh=False) as live:
        while True:
            time.sleep(REFRESH_S)
            live.update(status_view(_ask_status(place)), refresh=True)
