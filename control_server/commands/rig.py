"""`manager init`, `serve` and `shutdown`."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from control_server.commands.shared import JsonOption, RigOption, console, print_json
from control_server.rig.place import find_rig


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("init")(init)
    app.command("serve")(serve)
    app.command("shutdown")(shutdown)


def init(
    directory: Annotated[Path, typer.Option("--dir", help="Folder of the rig.")] = Path(),
    name: Annotated[str, typer.Option(help="Name of a new rig.")] = "rig",
    nodes: Annotated[
        int | None, typer.Option(min=1, help="Nodes of a new rig; else one per --node-address.")
    ] = None,
    cameras: Annotated[int, typer.Option(min=1, help="Cameras per node of a new rig.")] = 1,
    address: Annotated[
        str, typer.Option(help="Where nodes reach this server; 127.0.0.1: all on this machine.")
    ] = "127.0.0.1",
    node_address: Annotated[
        list[str] | None, typer.Option(help="Where the playbooks reach a node; once per node.")
    ] = None,
    fleet: Annotated[
        bool, typer.Option("--fleet", help="For machines that the playbooks set up.")
    ] = False,
    port: Annotated[
        int, typer.Option(min=1024, max=65000, help="First of the rig's ports.")
    ] = 7700,
    json: JsonOption = False,
) -> None:
    """Write rig.toml, all keys, and a bundle for each node; run it again after editing rig.toml.

    Example: manager init --nodes 3 --dir ~/rig

    Example: manager init --fleet --address 10.0.0.1 --node-address 10.0.0.11 --dir ~/rig
    """
    from control_server.rig.setup import RigWish, set_up

    addresses = tuple(node_address or ())
    wish = RigWish(name, nodes or len(addresses) or 1, cameras, address, port, addresses, fleet)
    place, written = set_up(directory, wish)
    if json:
        print_json({"rig": str(place.path), "written": [str(path) for path in written]})
        return
    for path in written:
        console.print(f"wrote {path}")
    console.print(f"rig {place.config.name}: {len(place.config.node)} nodes.")
    console.print(f"Next: edit {place.path}, run manager init again,")
    if place.config.segmenter.supervisor == "systemd":
        console.print("then the playbook site.yml, which sets up server and nodes.")
    else:
        console.print("copy nodes/<node>/ to each node and start its agent there:")
        console.print("  edge-agent run --config node.toml")


def serve(rig: RigOption = None) -> None:
    """Run the manager's process in the foreground (a systemd unit does this; else commands do).

    Example: manager serve --rig /etc/tutti/rig.toml
    """
    from control_server.manager import server

    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    server.serve(find_rig(rig))


def shutdown(rig: RigOption = None, json: JsonOption = False) -> None:
    """End the manager's process; a running session goes on in agents and segmenters.

    Example: manager shutdown
    """
    from control_server.manager.command_link import call
    from control_server.manager.requests import ShutdownRequest

    done = call(find_rig(rig).runtime, ShutdownRequest(), lambda _: None)
    print_json(done) if json else console.print(done["text"])
