"""What a freshly flashed Raspberry Pi reads on its first boot: user, ssh keys, hostname, network.

Two formats, both files of the card's boot partition:

- cloud-init, in Raspberry Pi OS from trixie on: `user-data`, `network-config` and `meta-data`
  (https://docs.cloud-init.io/en/latest/reference/datasources/nocloud.html; the network is in
  netplan's form, https://docs.cloud-init.io/en/latest/reference/network-config-format-v2.html).
  The image reads them because of stage2/04-cloud-init/files/99_raspberry-pi.cfg of
  https://github.com/RPi-Distro/pi-gen.
- `custom.toml`, in Raspberry Pi OS bookworm, read by usr/lib/raspberrypi-sys-mods/init_config of
  https://github.com/RPi-Distro/raspberrypi-sys-mods. It knows no wired network: that is DHCP.
"""

import json
from pathlib import Path
from typing import Any

import yaml

from capture_protocol import InputError
from capture_protocol.rig import NodeEntry, RigConfig

HEAD = "# Made by `manager first-boot` from rig.toml.\n"
DEFAULT_INTERFACE = "eth0"
KEY_TYPES = ("ssh-", "ecdsa-", "sk-")
GROUPS = ["adm", "sudo", "video", "render", "plugdev"]
LOCKED = "!"
"""What an encrypted password cannot be: nobody logs in by password."""


def first_boot_files(config: RigConfig, folder: Path, node: NodeEntry) -> dict[Path, str]:
    """The files of one node by their paths: `trixie/user-data` and so on.

    Args:
        config: the rig.
        folder: where rig.toml lies; key files are named relative to it.
        node: one of the rig's nodes.

    Raises:
        InputError: nobody could log in, a key file is wrong, or two nodes would have one hostname.
    """
    others = [hostname(other) for other in config.node if other.name != node.name]
    if hostname(node) in others:
        raise InputError(
            f"two nodes would have the hostname {hostname(node)}", hint="rename one in rig.toml"
        )
    keys = public_keys(config, folder)
    return {
        Path("trixie/user-data"): "#cloud-config\n" + HEAD + _yaml(_user_data(config, node, keys)),
        Path("trixie/network-config"): HEAD + _yaml(_network(config, node)),
        Path("trixie/meta-data"): HEAD
        + _yaml({"instance-id": f"{config.name}-{node.name}", "dsmode": "local"}),
        Path("bookworm/custom.toml"): HEAD + _custom_toml(config, node, keys),
    }


def hostname(node: NodeEntry) -> str:
    """A node's name as a host's: without underscores."""
    return node.name.replace("_", "-").rstrip("-")


def public_keys(config: RigConfig, folder: Path) -> list[str]:
    """The lines for authorized_keys that `[deploy] ssh_keys` names.

    Raises:
        InputError: there is none, a file is missing, or it is a private key.
    """
    keys = [line for entry in config.deploy.ssh_keys for line in _lines(entry, folder)]
    if not keys:
        raise InputError(
            "no ssh key: nobody could log in to the nodes",
            hint='add to rig.toml: [deploy] ssh_keys = ["~/.ssh/id_ed25519.pub"]',
        )
    return keys


def _lines(entry: str, folder: Path) -> list[str]:
    if entry.startswith(KEY_TYPES):
        return [entry.strip()]
    path = folder / Path(entry).expanduser()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"ssh key {path} cannot be read: {error}", hint="make one with: ssh-keygen -t ed25519"
        ) from error
    wanted = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not all(line.startswith(KEY_TYPES) for line in wanted):
        raise InputError(f"{path} holds no public ssh keys", hint="its name should end in .pub")
    return wanted


def _user_data(config: RigConfig, node: NodeEntry, keys: list[str]) -> dict[str, Any]:
    user = {
        "name": config.deploy.user,
        "groups": GROUPS,
        "shell": "/bin/bash",
        "lock_passwd": True,
        "sudo": "ALL=(ALL) NOPASSWD:ALL",
        "ssh_authorized_keys": keys,
    }
    return {
        "hostname": hostname(node),
        "manage_etc_hosts": True,
        "timezone": "Etc/UTC",
        "users": [user],
        "ssh_pwauth": False,
        "runcmd": [["systemctl", "enable", "--now", "ssh.service"]],
    }


def _network(config: RigConfig, node: NodeEntry) -> dict[str, Any]:
    interface = node.interface or config.deploy.interface or DEFAULT_INTERFACE
    settings: dict[str, Any] = {"dhcp4": not node.static_address, "optional": True}
    if node.static_address:
        settings["addresses"] = [node.static_address]
        if config.deploy.gateway:
            settings["routes"] = [{"to": "default", "via": config.deploy.gateway}]
        if config.deploy.dns:
            settings["nameservers"] = {"addresses": config.deploy.dns}
    return {"network": {"version": 2, "ethernets": {interface: settings}}}


def _custom_toml(config: RigConfig, node: NodeEntry, keys: list[str]) -> str:
    sections: dict[str, dict[str, Any]] = {
        "system": {"hostname": hostname(node)},
        "user": {"name": config.deploy.user, "password": LOCKED, "password_encrypted": True},
        "ssh": {"enabled": True, "password_authentication": False, "authorized_keys": keys},
        "locale": {"timezone": "Etc/UTC"},
    }
    text = "config_version = 1\n"
    for name, values in sections.items():
        # JSON's notation of strings, booleans and lists is TOML's as well.
        lines = (f"{key} = {json.dumps(value)}\n" for key, value in values.items())
        text += f"\n[{name}]\n" + "".join(lines)
    return text


def _yaml(data: dict[str, Any]) -> str:
    return str(yaml.safe_dump(data, sort_keys=False, width=1000))
