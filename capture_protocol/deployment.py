"""How a rig's machines are set up: `[deploy]` of rig.toml, and the kinds of values it knows."""

from ipaddress import ip_address, ip_interface
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints


def _one_address(text: str) -> str:
    if text:
        ip_address(text)
    return text


def _address_with_prefix(text: str) -> str:
    if text and "/" not in text:
        raise ValueError(f"{text!r} lacks the network's prefix length, as in 10.0.0.11/24")
    if text:
        ip_interface(text)
    return text


LoginName = Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_-]{0,31}$")]
InterfaceName = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,14})?$")]
"""A network interface, e.g. eth0 (15 characters at most); empty: the one of the default route."""
HostName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9.:-]{0,252}$")]
"""A DNS name or an IP address."""
Overlay = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][\w.-]*(,[\w.-]+(=[\w.-]+)?)*$")]
"""What follows `dtoverlay=` in a Raspberry Pi's config.txt, e.g. `imx708,cam0`."""
IpAddress = Annotated[str, AfterValidator(_one_address)]
AddressWithPrefix = Annotated[str, AfterValidator(_address_with_prefix)]
PublicKey = Annotated[str, StringConstraints(pattern=r"^\S[^\n]*$")]
"""A line as in authorized_keys, or the path of a file with such lines."""


class DeploySection(BaseModel):
    """What the playbooks and the first boot of a node need to know beside the rig itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    user: LoginName = "admin"
    """Login with sudo on every machine, by which Ansible comes."""
    ssh_port: Annotated[int, Field(ge=1, le=65535)] = 22
    ssh_keys: list[PublicKey] = []
    """Who may log in after the first boot; paths are relative to rig.toml."""
    operators: list[LoginName] = []
    """Logins on the server that may use `manager`."""
    ntp_servers: list[HostName] = ["2.debian.pool.ntp.org"]
    """What the grandmaster and nodes with `clock = "ntp"` follow; none: the machine's own clock."""
    interface: InterfaceName = ""
    """The rig's network on every machine that does not say otherwise."""
    retention_days: Annotated[int, Field(ge=0)] = 0
    """Sealed sessions older than this are removed; 0: never."""
    gateway: IpAddress = ""
    """Of nodes with a `static_address`."""
    dns: list[IpAddress] = []
    """Of nodes with a `static_address`."""
