"""`manager prune`."""

import time
from typing import Annotated

import typer

from capture_protocol import EnvironmentLackError
from control_server.commands.shared import JsonOption, RigOption, console, print_json
from control_server.rig.place import find_rig
from control_server.session.retention import expired_sessions, finish_removals, remove_session


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command("prune")(prune)


def prune(
    older_than: Annotated[float, typer.Option(min=0, help="Days since the session was sealed.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    rig: RigOption = None,
    json: JsonOption = False,
) -> None:
    """Remove complete sessions that are old; incomplete and damaged ones stay.

    Example: manager prune --older-than 30 --dry-run
    """
    storage = find_rig(rig).storage
    expired = expired_sessions(storage, time.time_ns(), older_than)
    if not dry_run:
        try:
            finish_removals(storage)
            for folder in expired:
                remove_session(folder)
        except PermissionError as error:
            raise EnvironmentLackError(
                f"you may not remove sessions from {storage}",
                hint="do it as the manager's user: sudo -u tutti manager prune ...",
            ) from error
    names = [folder.path.name for folder in expired]
    if json:
        print_json({"removed": [] if dry_run else names, "expired": names})
        return
    for name in names:
        console.print(f"{'would remove' if dry_run else 'removed'} {storage / name}")
    console.print(f"{len(names)} sessions older than {older_than:g} days")
