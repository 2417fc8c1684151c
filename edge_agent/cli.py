"""`edge-agent`: the commands of a node."""

import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from capture_protocol.errors import TuttiError
from capture_protocol.rig import load_node

_MARKS = {"ok": "[green]✓[/]", "warning": "[yellow]![/]", "failed": "[red]✗[/]"}

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", help="node.toml, as `manager init` wrote it.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.callback()
def agent(
    context: typer.Context,
    debug: Annotated[bool, typer.Option(help="Show the traceback of an error.")] = False,
) -> None:
    """Run the cameras of one node."""
    context.obj = debug


@app.command()
def run(config: ConfigOption = Path("node.toml")) -> None:
    """Record with the cameras of this node until SIGTERM.

    Example: edge-agent run --config /etc/tutti/node.toml
    """
    from edge_agent.process import fork_server

    fork_server()
    from edge_agent.agent import NodePaths, run_agent
    from edge_agent.service import log_to_journal

    if not log_to_journal():
        logging.basicConfig(format="%(name)s: %(message)s", level=logging.INFO)
    logging.getLogger("sh").setLevel(logging.WARNING)  # it would tell of every program it starts
    node = load_node(config)
    run_agent(node, NodePaths.of(config, node))


@app.command()
def cameras(json_output: JsonOption = False) -> None:
    """List the cameras of this machine and the sensors that can be simulated.

    Example: edge-agent cameras --json
    """
    from edge_agent.check import find_cameras

    found = find_cameras()
    if json_output:
        typer.echo(json.dumps([asdict(camera) for camera in found], indent=1))
        return
    table = Table("backend", "device or mode", "what it is")
    for camera in found:
        table.add_row(camera.backend, camera.device, camera.description)
    Console().print(table)


@app.command()
def check(config: ConfigOption = Path("node.toml"), json_output: JsonOption = False) -> None:
    """Find out whether this node can record: keys, server, rights, clock, disk, cameras, encoder.

    Exit code 0 if nothing failed (warnings are allowed), 1 if something did.

    Example: edge-agent check --config /etc/tutti/node.toml
    """
    from edge_agent.agent import NodePaths
    from edge_agent.check import run_checks

    node = load_node(config)
    table = Table("", "point", "finding", "what to do", title=f"node {node.name}")
    results = []
    for result in run_checks(node, NodePaths.of(config, node)):
        results.append(result)
        table.add_row(_MARKS[result.verdict], result.point, result.text, result.mend)
    if json_output:
        typer.echo(json.dumps([asdict(result) for result in results], indent=1))
    else:
        Console().print(table)
    if any(result.verdict == "failed" for result in results):
        raise typer.Exit(1)


def main() -> None:
    """Entry point: errors become one line and an exit code, a traceback only under --debug."""
    try:
        app()
    except TuttiError as error:
        if "--debug" in sys.argv:
            raise
        typer.echo(f"error: {error}", err=True)
        if error.hint:
            typer.echo(f"  hint: {error.hint}", err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
