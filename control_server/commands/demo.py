"""`manager demo`."""

from pathlib import Path
from typing import Annotated

import typer

from control_server.commands.shared import JsonOption, console, print_json, stderr


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command("demo")(demo)


def demo(
    cameras: Annotated[int, typer.Option(help="Cameras, each with an agent of its own.")] = 3,
    seconds: Annotated[float, typer.Option(help="Length of the session.")] = 10.0,
    rate: Annotated[str, typer.Option(help="Frames per second, e.g. 30 or 30000/1001.")] = "30",
    source: Annotated[str, typer.Option(help="simulated, or file:PATH for footage.")] = "simulated",
    keep: Annotated[
        Path | None, typer.Option(help="New folder for rig and recording; else they are removed.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Record a session on this machine and audit it; exits 0 only if the audit passes.

    Example: manager demo --cameras 6 --seconds 20 --keep my-rig
    """
    from control_server.demo.run import DemoWish, as_json, run_demo, show

    wish = DemoWish(cameras, seconds, rate, source, keep)
    result = run_demo(wish, stderr if json else console)
    print_json(as_json(result)) if json else show(result, console)
    raise typer.Exit(result.exit_code)
