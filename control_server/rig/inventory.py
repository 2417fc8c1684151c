"""The rig as Ansible's inventory: every variable of the playbooks comes from rig.toml.

The form is that of Ansible's dynamic inventory scripts:
https://docs.ansible.com/ansible/latest/dev_guide/developing_inventory.html
"""

from pathlib import Path
from typing import Any

from capture_protocol import InputError
from capture_protocol.rig import NodeEntry, RigConfig
from control_server.rig.place import RigPlace

SERVER = "server"
SERVERS = "servers"
"""The group of this one host."""
LOCAL = "local"
RESERVED = ("all", "localhost", "nodes", "rig", "ungrouped", SERVER, SERVERS)
"""Names that Ansible or the inventory's groups have taken."""
Variables = dict[str, Any]


def inventory(place: RigPlace) -> dict[str, Any]:
    """All hosts with their variables: what ``--list`` prints.

    Raises:
        InputError: the rig cannot be set up by the playbooks; the message says why.
    """
    require_deployable(place.config)
    nodes = {node.name: _node_variables(place, node) for node in place.config.node}
    return {
        "_meta": {"hostvars": {SERVER: _server_variables(place), **nodes}},
        "all": {"children": ["rig"]},
        "rig": {"children": [SERVERS, "nodes"]},
        SERVERS: {"hosts": [SERVER]},
        "nodes": {"hosts": list(nodes)},
    }


def host_variables(place: RigPlace, host: str) -> Variables:
    """What ``--host`` prints.

    Raises:
        InputError: as `inventory`, or the rig has no such host.
    """
    hosts: dict[str, Variables] = inventory(place)["_meta"]["hostvars"]
    if host not in hosts:
        raise InputError(f"the rig has no host {host}", hint=f"it has {', '.join(hosts)}")
    return hosts[host]


def require_deployable(config: RigConfig) -> None:
    """Whether the playbooks can set this rig up.

    Raises:
        InputError: a name is taken, there are several reference clocks, or the folders are not
            those that the units expect.
    """
    for node in config.node:
        if node.name in RESERVED:
            raise InputError(f"no node can be called {node.name}", hint="rename it in rig.toml")
        if node.clock == "shared":
            raise InputError(
                f"node {node.name} shares the server's clock: the playbooks set up machines of "
                "their own",
                hint=f'give {node.name} its address, and clock = "ptp" or "ntp"',
            )
    followers = [node for node in config.node if node.clock == "ptp"]
    if len({node.ptp.domain for node in followers}) > 1:
        raise InputError("the nodes' ptp domains differ: a rig has one clock")
    if len(_grandmasters(config)) > 1:
        names = ", ".join(node.name for node in _grandmasters(config))
        raise InputError(f"one node can be the grandmaster, not {names}")
    if config.segmenter.supervisor != "systemd" or not Path(config.server.storage).is_absolute():
        raise InputError(
            "this rig.toml is not made for the playbooks: they need segmenter.supervisor = "
            '"systemd", and absolute folders for server.storage and server.runtime',
            hint='a new one: manager init --fleet; an old one: storage = "/var/lib/tutti/sessions"'
            ', runtime = "/run/tutti"',
        )


def _grandmasters(config: RigConfig) -> list[NodeEntry]:
    return [node for node in config.node if node.clock == "ptp" and node.ptp.role == "grandmaster"]


def server_role(config: RigConfig) -> str:
    """What the server's clock is to the rig: the reference, unless a node is."""
    if not any(node.clock == "ptp" for node in config.node):
        return "none"
    return "follower" if _grandmasters(config) else "grandmaster"


def ptp_domain(config: RigConfig) -> int:
    """The rig's PTP domain: that of its first node with PTP."""
    return next((node.ptp.domain for node in config.node if node.clock == "ptp"), 0)


def _rig_variables(config: RigConfig, interface: str, ptp_role: str) -> Variables:
    deploy = config.deploy
    return {
        "ansible_user": deploy.user,
        "ansible_port": deploy.ssh_port,
        "tutti_rig_name": config.name,
        "tutti_domain": ptp_domain(config),
        "tutti_interface": interface or deploy.interface,
        "tutti_ptp_role": ptp_role,
        "tutti_ntp_servers": deploy.ntp_servers,
        "tutti_operators": deploy.operators,
        "tutti_ssh_user": deploy.user,
        "tutti_group": config.network.group,
        "tutti_datagram_port": config.network.port,
        "tutti_control_port": config.server.control_port,
    }


def _server_variables(place: RigPlace) -> Variables:
    config, server = place.config, place.config.server
    variables = _rig_variables(config, server.interface, server_role(config))
    if server.ssh_address == LOCAL:
        variables["ansible_connection"] = "local"
    return {
        **variables,
        "ansible_host": (server.ssh_address or server.address).replace(LOCAL, "localhost"),
        "tutti_listen": server.listen,
        "tutti_stream_ports": [
            f"{server.listen}:{server.stream_port + index}" for index, _, _ in config.cameras()
        ],
        "tutti_rig_folder": str(place.folder),
        "tutti_storage": str(place.storage),
        "tutti_retention_days": config.deploy.retention_days,
    }


def _node_variables(place: RigPlace, node: NodeEntry) -> Variables:
    config = place.config
    role = node.ptp.role if node.clock == "ptp" else "none"
    return {
        **_rig_variables(config, node.interface, role),
        "ansible_host": node.address,
        "tutti_clock": node.clock,
        "tutti_cameras": [camera.name for camera in node.camera],
        "tutti_overlays": node.overlays,
        "tutti_isolated_cpu": node.isolated_cpu,
        "tutti_bundle": str(place.nodes / node.name),
        "tutti_server_address": config.server.address,
    }
