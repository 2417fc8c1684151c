"""`manager init`: the annotated rig.toml, the rig's keys, and what each node needs."""

import json
import secrets
import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template

from pydantic import BaseModel

from capture_protocol import InputError, NodeConfig, load_node, load_rig, node_config
from capture_protocol.keys import (
    RIG_KEY_NAME,
    SERVER_PUBLIC_NAME,
    make_pair,
    make_rig_key,
    write_public,
    write_secret,
)
from capture_protocol.publish import publish_text
from control_server.fleet.link import SERVER_SECRET_NAME
from control_server.rig.place import RIG_NAME, RigPlace

BUNDLE_NAME = "node.toml"
LOCAL_SETTINGS = ("state", "spool_limit_mb", "realtime")
"""Settings of a node.toml that belong to the node: init keeps them when it writes the rest anew."""
NODE_HEAD = (
    "# Made by `manager init` on the server; state, spool_limit_mb and [realtime] are yours.\n"
)
STREAM_PORT_STEP = 10
OWN_FOLDERS = {
    "storage": '# storage = "sessions"',
    "runtime": '# runtime = "run"',
    "operators_group": '# operators_group = ""',
    "supervisor": '# supervisor = "local"',
}
FLEET_FOLDERS = {
    "storage": 'storage = "/var/lib/tutti/sessions"',
    "runtime": 'runtime = "/run/tutti"',
    "operators_group": 'operators_group = "tutti-operators"',
    "supervisor": 'supervisor = "systemd"',
}
"""What the units in systemd/ expect."""
PRIVATE = 0o700


@dataclass(frozen=True, slots=True)
class RigWish:
    """What a new rig.toml should say."""

    name: str = "rig"
    nodes: int = 1
    cameras: int = 1
    """Cameras of each node."""
    address: str = "127.0.0.1"
    base_port: int = 7700
    """Control port; START's port is the next one, video begins ten further."""
    node_addresses: tuple[str, ...] = ()
    """Where Ansible reaches each node; none: node0.local and so on."""
    fleet: bool = False
    """The playbooks set the machines up: the folders and the supervisor that the units expect."""


def set_up(folder: Path, wish: RigWish) -> tuple[RigPlace, list[Path]]:
    """Make a rig, or complete one whose rig.toml was edited.

    Returns:
        the rig, and the files that were written.

    Raises:
        InputError: rig.toml is wrong, or the wish is; nothing was changed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder.resolve() / RIG_NAME
    written = []
    if not path.exists():
        publish_text(path, rig_text(wish))
        written.append(path)
    place = RigPlace(path, load_rig(path))
    written += _complete_keys(place)
    for node in place.config.node:
        written += _write_bundle(place, node.name)
    return place, written


def rig_text(wish: RigWish) -> str:
    """An annotated rig.toml.

    Raises:
        InputError: no nodes or no cameras, or not one address per node.
    """
    if wish.nodes < 1 or wish.cameras < 1:
        raise InputError("a rig has at least one node with one camera")
    if wish.node_addresses and len(wish.node_addresses) != wish.nodes:
        raise InputError(f"{len(wish.node_addresses)} node addresses for {wish.nodes} nodes")
    template = (
        resources.files("control_server.rig").joinpath("rig_template.toml").read_text("utf-8")
    )
    local = wish.address.startswith("127.")
    folders = FLEET_FOLDERS if wish.fleet else OWN_FOLDERS
    return Template(template).substitute(
        name=wish.name,
        id=secrets.token_hex(16),
        address=wish.address,
        listen="0.0.0.0" if wish.fleet else wish.address,  # noqa: S104
        **folders,
        control_port=wish.base_port,
        datagram_port=wish.base_port + 1,
        stream_port=wish.base_port + STREAM_PORT_STEP,
        group="239.84.85.84",
        interface=wish.address,
        nodes="".join(_node_text(wish, node, local) for node in range(wish.nodes)),
    )


def _node_text(wish: RigWish, node: int, local: bool) -> str:
    clock = "shared" if local else "ptp"
    if wish.node_addresses:
        address = wish.node_addresses[node]
    else:
        address = "127.0.0.1" if local else f"node{node}.local"
    lines = [
        "\n[[node]]",
        f'name = "node{node}"',
        f'address = "{address}"',
        f'clock = "{clock}"',
    ]
    for camera in range(node * wish.cameras, (node + 1) * wish.cameras):
        lines += [
            "\n[[node.camera]]",
            f'name = "cam{camera}"',
            'backend = "simulated"',
            'device = ""',
            "width = 640",
            "height = 480",
            "exposure_us = 4000",
            "bitrate_kbps = 4000",
            f"options = {{ seed = {camera + 1} }}",
        ]
    return "\n".join(lines) + "\n"


def _complete_keys(place: RigPlace) -> list[Path]:
    place.keys.mkdir(mode=PRIVATE, exist_ok=True)
    written = []
    rig_key = place.keys / RIG_KEY_NAME
    if not rig_key.exists():
        write_secret(rig_key, make_rig_key())
        written.append(rig_key)
    written += _complete_pair(place.keys / SERVER_PUBLIC_NAME, place.keys / SERVER_SECRET_NAME)
    for node in place.config.node:
        written += _complete_pair(
            place.keys / f"{node.name}.public", place.keys / f"{node.name}.secret"
        )
    return written


def _complete_pair(public: Path, secret: Path) -> list[Path]:
    """A key pair is whole or made anew: half of one is of no use."""
    if public.exists() and secret.exists():
        return []
    pair = make_pair()
    write_secret(secret, pair.secret)
    write_public(public, pair.public)
    return [public, secret]


def _write_bundle(place: RigPlace, node: str) -> list[Path]:
    bundle = place.nodes / node
    bundle.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
    config = _with_local_settings(node_config(place.config, node), bundle / BUNDLE_NAME)
    publish_text(bundle / BUNDLE_NAME, NODE_HEAD + config_text(config))
    copies = {
        RIG_KEY_NAME: RIG_KEY_NAME,
        SERVER_PUBLIC_NAME: SERVER_PUBLIC_NAME,
        f"{node}.public": "node.public",
        f"{node}.secret": "node.secret",
    }
    for source, target in copies.items():
        text = (place.keys / source).read_text(encoding="ascii").strip()
        write = write_public if target.endswith(".public") else write_secret
        write(bundle / target, text)
    return [bundle]


def _with_local_settings(config: NodeConfig, existing: Path) -> NodeConfig:
    if not existing.exists():
        return config
    kept = load_node(existing)
    update: dict[str, object] = {
        name: getattr(kept, name)
        for name in LOCAL_SETTINGS
        if getattr(kept, name) != NodeConfig.model_fields[name].default
    }
    if config.realtime.cpu >= 0:
        update["realtime"] = kept.realtime.model_copy(update={"cpu": config.realtime.cpu})
    return config.model_copy(update=update)


def config_text(config: BaseModel) -> str:
    """A rig.toml or node.toml without comments: tables of values and lists of tables.

    Raises:
        InputError: a value in it cannot be written as TOML.
    """
    text = _table(config, "").lstrip()
    if tomllib.loads(text) != config.model_dump(mode="json"):
        raise InputError(f"{type(config).__name__}: a value cannot be written as TOML")
    return text


def _table(section: BaseModel, prefix: str) -> str:
    """A section's own values, then its tables and lists of tables."""
    values, tables = "", ""
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            tables += f"\n[{prefix}{name}]\n" + _table(value, f"{prefix}{name}.")
        elif isinstance(value, list) and any(isinstance(item, BaseModel) for item in value):
            for item in value:
                tables += f"\n[[{prefix}{name}]]\n" + _table(item, f"{prefix}{name}.")
        else:
            values += f"{name} = {_value(value)}\n"
    return values + tables


def _value(value: object) -> str:
    """A TOML value; JSON's notation serves for strings, numbers and booleans."""
    if isinstance(value, dict):
        inside = ", ".join(f"{json.dumps(key)} = {_value(item)}" for key, item in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    return json.dumps(value, ensure_ascii=False)
