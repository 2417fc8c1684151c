"""The `manager` command: one module per group of commands in `control_server.commands`."""

import json
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from capture_protocol import TuttiError
from control_server.commands import deployment, later, lifecycle, overview, retention, rig

app = typer.Typer(
    name="manager",
    cls=later.LateGroup,
    help="Record many cameras as one: sessions, their state and their proof.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
rig.register(app)
lifecycle.register(app)
overview.register(app)
deployment.register(app)
retention.register(app)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(version("tutti-capture"))
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    context.obj = {"debug": debug}


def main() -> None:
    """Run `manager`; errors become one line and an exit code."""
    try:
        app()
    except TuttiError as error:
        if "--debug" in sys.argv:
            raise
        _report(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


def _report(error: TuttiError) -> None:
    if "--json" in sys.argv:
        print(json.dumps({"error": {"message": str(error), "hint": error.hint}}))
    hint = f"\n  → {error.hint}" if error.hint else ""
    print(f"manager: {error}{hint}", file=sys.stderr)
