"""Options and output that all commands share."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

RigOption = Annotated[
    Path | None,
    typer.Option("--rig", help="rig.toml or its folder; else $TUTTI_RIG, else ./rig.toml."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]

console = Console(highlight=False)
stderr = Console(stderr=True, highlight=False)


def print_json(data: Any) -> None:
    """One JSON document on stdout."""
    print(json.dumps(data, indent=1))


def progress_printer() -> Callable[[str], None]:
    """Shows progress on stderr, each message once."""
    last = ""

    def show(text: str) -> None:
        nonlocal last
        if text != last:
            stderr.print(f"[dim]{text}[/dim]")
            last = text

    return show
