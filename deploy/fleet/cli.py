"""`deploy/fleet-in-a-box`: bring a fleet up, look at it, disturb it, take it away."""

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from capture_protocol.errors import EnvironmentLackError
from deploy.command import run_command
from deploy.fleet.base import USER
from deploy.fleet.fleet import Fleet
from deploy.fleet.lacks import lacking
from deploy.fleet.rig import make_rig
from deploy.fleet.ssh import CONFIG_NAME, KEY_NAME

app = typer.Typer(
    name="fleet-in-a-box",
    help="A server and nodes as systemd containers on one bridge, bare as a fresh OS leaves them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
Folder = Annotated[Path, typer.Option("--dir", help="The fleet's folder; its last part names it.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Name = Annotated[str, typer.Argument(help="server, node0, node1, ...")]
FOLDER = Path("/var/lib/tutti-fleet/fleet")
console = Console(highlight=False, soft_wrap=True)


@app.command()
def up(
    nodes: Annotated[int, typer.Option(min=1, max=40)] = 3,
    folder: Folder = FOLDER,
    json: Json = False,
) -> None:
    """Boot a new fleet and write the folder of its rig (the first time builds its root: minutes).

    Example: sudo deploy/fleet-in-a-box up --nodes 3
    """
    if reason := lacking():
        raise EnvironmentLackError("this machine cannot boot containers", hint=reason)
    fleet = Fleet.create(folder, nodes)
    try:
        fleet.power_on()
        rig = make_rig(fleet, fleet.folder / "rig")
    except BaseException:
        fleet.down()
        raise
    about = describe(fleet) | {"rig": str(rig.path)}
    if json:
        print_json(about)
        return
    show(about)
    console.print("Next, from the project's folder:")
    console.print(
        f"  export TUTTI_RIG={rig.path} ANSIBLE_SSH_EXTRA_ARGS='-F {about['ssh_config']}'"
    )
    console.print("  ansible-playbook -i ansible/inventory ansible/site.yml")
    console.print("  deploy/fleet-in-a-box ssh server")


@app.command()
def down(folder: Folder = FOLDER) -> None:
    """Shut the fleet down and remove it: machines, bridge, mounts, the folder of its rig.

    Example: sudo deploy/fleet-in-a-box down
    """
    Fleet(folder).down()


@app.command()
def status(folder: Folder = FOLDER, json: Json = False) -> None:
    """Which machines are up, and how wrong their clocks truly are.

    Example: sudo deploy/fleet-in-a-box status --json
    """
    about = describe(Fleet(folder))
    print_json(about) if json else show(about)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def ssh(context: typer.Context, name: Name, folder: Folder = FOLDER) -> None:
    """Log in on a machine, or run a command there.

    Example: sudo deploy/fleet-in-a-box ssh node0 date
    """
    command = Fleet(folder).ssh_command(name, *context.args)
    os.execvp(command[0], command)  # noqa: S606  the terminal is ssh's from here on


@app.command()
def pull(name: Name, folder: Folder = FOLDER) -> None:
    """Pull a machine's network cable.

    Example: sudo deploy/fleet-in-a-box pull node0
    """
    Fleet(folder).pull_cable(name)


@app.command()
def plug(name: Name, folder: Folder = FOLDER) -> None:
    """Plug it in again.

    Example: sudo deploy/fleet-in-a-box plug node0
    """
    Fleet(folder).plug_cable(name)


@app.command()
def reboot(name: Name, folder: Folder = FOLDER) -> None:
    """Reboot a machine; a node's clock then is an hour behind, as without a battery.

    Example: sudo deploy/fleet-in-a-box reboot node0
    """
    Fleet(folder).machine(name).reboot()


@app.command()
def cut(name: Name, folder: Folder = FOLDER) -> None:
    """Cut a machine's power; `up` it again with: fleet-in-a-box power NAME.

    Example: sudo deploy/fleet-in-a-box cut node0
    """
    Fleet(folder).machine(name).cut_power()


@app.command()
def power(name: Name, folder: Folder = FOLDER) -> None:
    """Give a machine power again.

    Example: sudo deploy/fleet-in-a-box power node0
    """
    Fleet(folder).machine(name).power_on()


def describe(fleet: Fleet) -> dict[str, Any]:
    """All there is to know for using the fleet."""
    machines = {
        name: {
            "address": address,
            "up": (is_up := fleet.machine(name).is_up),
            "clock_error_ns": fleet.clock_error_ns(name) if is_up else None,
        }
        for name, address in fleet.addresses().items()
    }
    return {
        "folder": str(fleet.folder),
        "bridge": fleet.state.network.bridge,
        "user": USER,
        "key": str(fleet.folder / KEY_NAME),
        "ssh_config": str(fleet.folder / CONFIG_NAME),
        "machines": machines,
    }


def show(about: dict[str, Any]) -> None:
    """The same for people."""
    for name, machine in about["machines"].items():
        error_ns = machine["clock_error_ns"]
        state = f"up, clock {error_ns / 1e3:+.1f} µs from the truth" if machine["up"] else "off"
        console.print(f"{name:8} {machine['address']:14} {state}")
    console.print(f"ssh -F {about['ssh_config']} node0")


def print_json(data: Any) -> None:
    """One JSON document on stdout."""
    print(json.dumps(data, indent=1))


def main() -> None:
    """Run the command."""
    run_command(app, "fleet-in-a-box")
