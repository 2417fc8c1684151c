"""`manager inventory` and `first-boot`: rig.toml for Ansible and for new machines."""

from pathlib import Path
from typing import Annotated

import typer

from capture_protocol import InputError, publish_text
from control_server.commands.shared import JsonOption, RigOption, console, print_json
from control_server.rig.place import find_rig

NodeOption = Annotated[
    list[str] | None, typer.Option("--node", help="Only this node; may be repeated.")
]


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("inventory")(inventory)
    app.command("first-boot")(first_boot)


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


def first_boot(
    out: Annotated[Path, typer.Option("--out", help="Folder for the files, one per node in it.")],
    node: NodeOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files of other origin.")] = False,
    rig: RigOption = None,
    json: JsonOption = False,
) -> None:
    """Write what each node's card needs on its boot partition before the first boot.

    Example: manager first-boot --out cards && cp cards/node0/trixie/* /media/$USER/bootfs/
    """
    from control_server.rig.first_boot import HEAD, first_boot_files

    place = find_rig(rig)
    wanted = node or [entry.name for entry in place.config.node]
    entries = {entry.name: entry for entry in place.config.node}
    if unknown := [name for name in wanted if name not in entries]:
        raise InputError(f"the rig has no node {unknown[0]}", hint=f"it has {', '.join(entries)}")
    texts = {
        out / name / path: text
        for name in wanted
        for path, text in first_boot_files(place.config, place.folder, entries[name]).items()
    }
    foreign = [path for path in texts if path.exists() and HEAD not in path.read_text("utf-8")]
    if foreign and not force:
        raise InputError(
            f"{foreign[0]} was not made by this command", hint="move it away, or say --force"
        )
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        publish_text(path, text)
    if json:
        print_json({"written": [str(path) for path in texts], "replaced": [*map(str, foreign)]})
        return
    for path in texts:
        console.print(f"{'replaced' if path in foreign else 'wrote'} {path}")
    _tell_what_bookworm_lacks(
        [entries[name].name for name in wanted if entries[name].static_address]
    )


def _tell_what_bookworm_lacks(nodes: list[str]) -> None:
    if nodes:
        console.print(
            f"custom.toml cannot say static_address: with bookworm, give {', '.join(nodes)} "
            "fixed leases in your DHCP server"
        )
