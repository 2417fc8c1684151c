"""`manager inventory`."""

from typing import Annotated

import typer

from control_server.commands.shared import JsonOption, RigOption, print_json
from control_server.rig.place import find_rig


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("inventory")(inventory)


def inventory(
    list_all: Annotated[bool, typer.Option("--list", help="All hosts (the default).")] = False,  # noqa: ARG001
    host: Annotated[str | None, typer.Option("--host", help="One host's variables.")] = None,
    rig: RigOption = None,
    json: JsonOption = True,  # noqa: ARG001
) -> None:
    """Print the rig as Ansible's inventory; ansible/inventory calls this.

    Example: manager inventory --host node0
    """
    from control_server.rig.inventory import host_variables
    from control_server.rig.inventory import inventory as all_hosts

    place = find_rig(rig)
    print_json(all_hosts(place) if host is None else host_variables(place, host))
