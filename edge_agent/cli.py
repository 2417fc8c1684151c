"""`edge-agent`: the commands of a node."""

import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

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
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


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


@app.command()
def clock_config(
    role: Annotated[
        Literal["grandmaster", "follower"],
        typer.Option(help="What this machine's clock is to the rig."),
    ],
    stamping: Annotated[
        Literal["hardware", "software"],
        typer.Option(help="Who stamps PTP packets: see `ethtool -T INTERFACE`."),
    ],
    interface: Annotated[str, typer.Option(help="Network interface that carries PTP.")],
    domain: Annotated[int, typer.Option(help="PTP domain of the rig.")] = 0,
    phc2sys: Annotated[
        bool, typer.Option("--phc2sys", help="phc2sys's options (hardware stamps only).")
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Print the configuration of ptp4l, or of phc2sys, that makes this machine part of the rig.

    Example: edge-agent clock-config --role follower --stamping software --interface eth0
    """
    from edge_agent.linuxptp import (
        PHC2SYS_PATH,
        PTP4L_PATH,
        PtpSetup,
        Role,
        Stamping,
        phc2sys_environment,
        ptp4l_config,
    )

    setup = PtpSetup(Role(role), Stamping(stamping), interface, domain)
    text = phc2sys_environment(setup) if phc2sys else ptp4l_config(setup)
    if json_output:
        path, program = (PHC2SYS_PATH, "phc2sys") if phc2sys else (PTP4L_PATH, "ptp4l")
        unit = f"{program}@{interface}.service"
        typer.echo(json.dumps({"path": path, "unit": unit, "text": text}, indent=1))
    else:
        typer.echo(text, nl=False)


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
