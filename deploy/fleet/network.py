"""One bridge for all machines, on a subnet that collides with nothing here; cables to pull."""

import ipaddress
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capture_protocol import TuttiError

_CANDIDATES = ipaddress.ip_network("10.78.0.0/16")
_HOST = 254
"""This machine's own address on the bridge: the controller's."""


@dataclass(frozen=True)
class Network:
    """A bridge of this machine."""

    bridge: str
    subnet: str

    def address(self, number: int) -> str:
        """Address of a machine."""
        return str(ipaddress.ip_network(self.subnet)[number])

    @property
    def gateway(self) -> str:
        """This machine's address, which leads nowhere: the fleet has no internet."""
        return self.address(_HOST)

    def create(self) -> None:
        """Make the bridge."""
        # Without snooping, multicast reaches every port: no switch here asks who listens.
        _ip("link", "add", self.bridge, "type", "bridge", "mcast_snooping", "0")
        _ip("address", "add", f"{self.gateway}/24", "dev", self.bridge)
        _ip("link", "set", self.bridge, "up")

    def delete(self) -> None:
        """Remove the bridge, if it is there."""
        if Path(f"/sys/class/net/{self.bridge}").exists():
            _ip("link", "delete", self.bridge)


def free_network(name: str) -> Network:
    """A network for a fleet of that name.

    Raises:
        TuttiError: there is a bridge of that name, or no subnet is free.
    """
    bridge = f"tt-{name}"[:15]
    links = _ip_json("address", "show")
    if any(link["ifname"] == bridge for link in links):
        raise TuttiError(f"there is a bridge {bridge} already", hint="take that fleet down first")
    used = [
        f"{address['local']}/{address['prefixlen']}"
        for link in links
        for address in link["addr_info"]
        if address["family"] == "inet"
    ]
    routes = [route["dst"] for route in _ip_json("-4", "route", "show", "table", "all")]
    return Network(bridge, free_subnet([*used, *(dst for dst in routes if dst != "default")]))


def free_subnet(used: list[str]) -> str:
    """The first subnet for a fleet that overlaps none of these networks or addresses.

    Raises:
        TuttiError: none is free.
    """
    taken = [ipaddress.ip_network(network, strict=False) for network in used]
    for candidate in _CANDIDATES.subnets(new_prefix=24):
        if not any(candidate.overlaps(other) for other in taken):
            return str(candidate)
    raise TuttiError(f"no subnet of {_CANDIDATES} is free here")


def cable(index: int) -> str:
    """The interface of this machine with that index: the bridge's end of a container's cable."""
    for folder in Path("/sys/class/net").iterdir():
        path = folder / "ifindex"
        if path.exists() and int(path.read_text()) == index:
            return folder.name
    raise TuttiError(f"there is no interface {index}", hint="is the machine powered on?")


def pull(interface: str) -> None:
    """Take the carrier away."""
    _ip("link", "set", interface, "down")


def plug(interface: str) -> None:
    """Give the carrier back."""
    _ip("link", "set", interface, "up")


def _ip(*arguments: str) -> str:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise TuttiError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def _ip_json(*arguments: str) -> Any:
    return json.loads(_ip("-json", *arguments))
