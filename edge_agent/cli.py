"""`edge-agent`: the commands of a node."""

import json
import logging
import sys
from collections.abc import Iterable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from capture_protocol.errors import TuttiError
from capture_protocol.rig import PtpSection, load_node

if TYPE_CHECKING:
    from edge_agent.linuxptp.finding import Finding

_MARKS = {"ok": "[green]✓[/]", "warning": "[yellow]![/]", "failed": "[red]✗[/]"}

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", help="node.toml, as `manager init` wrote it.")
]
RoleName = Literal["grandmaster", "follower"]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        print(version("tutti-capture"))
        raise typer.Exit


@app.callback()
def agent(
    context: typer.Context,
    debug: Annotated[bool, typer.Option(help="Show the traceback of an error.")] = False,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
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
    _show(f"node {node.name}", run_checks(node, NodePaths.of(config, node)), json_output)


@app.command()
def clock(
    role: Annotated[RoleName, typer.Option(help="What this machine's clock is to the rig.")],
    domain: Annotated[int, typer.Option(help="PTP domain of the rig.", min=0, max=127)] = 0,
    json_output: JsonOption = False,
) -> None:
    """Judge the clock of a machine that takes part in PTP, also of one without cameras.

    Exit code 0 if nothing failed (warnings are allowed), 1 if something did.

    Example: edge-agent clock --role grandmaster
    """
    from edge_agent.clock.points import judge_clock

    findings = judge_clock("ptp", PtpSection(role=role, domain=domain))
    _show(f"clock of a {role}", findings, json_output)


@app.command()
def wait_for_clock(
    timeout: Annotated[float, typer.Option(help="Seconds to wait at most.", min=0)] = 20.0,
) -> None:
    """Wait until something disciplines this machine's clock: NTP, ptp4l or phc2sys.

    Exit code 0 as soon as it does, 1 if it did not in time.

    Example: edge-agent wait-for-clock --timeout 20
    """
    from edge_agent.clock.waiting import wait_for_discipline

    if wait_for_discipline(timeout):
        typer.echo("CLOCK_REALTIME is disciplined")
        return
    typer.echo(f"CLOCK_REALTIME is not disciplined after {timeout:g} s", err=True)
    raise typer.Exit(1)


@app.command()
def clock_config(
    role: Annotated[RoleName, typer.Option(help="What this machine's clock is to the rig.")],
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


def _show(title: str, findings: Iterable["Finding"], json_output: bool) -> None:
    """Print findings; exit code 1 if one of them failed."""
    table = Table("", "point", "finding", "what to do", title=title)
    found = []
    for finding in findings:
        found.append(finding)
        table.add_row(_MARKS[finding.verdict], finding.point, finding.text, finding.mend)
    if json_output:
        typer.echo(json.dumps([asdict(finding) for finding in found], indent=1))
    else:
        Console().print(table)
    if any(finding.verdict == "failed" for finding in found):
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
