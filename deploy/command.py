"""How the commands of this folder end: done, or one clear line and an exit code."""

import sys

import typer

from capture_protocol import TuttiError


def run_command(app: typer.Typer, name: str) -> None:
    """Run a command line; errors become one line and an exit code."""
    try:
        app()
    except TuttiError as error:
        hint = f"\n  → {error.hint}" if error.hint else ""
        print(f"{name}: {error}{hint}", file=sys.stderr)
        sys.exit(error.exit_code)
