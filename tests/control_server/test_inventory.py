"""`manager inventory`: rig.toml as Ansible's inventory, and rigs that no playbook could set up."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from capture_protocol import InputError, load_node
from control_server.rig.inventory import host_variables, inventory
from control_server.rig.place import RigPlace, find_rig
from control_server.rig.setup import RigWish, set_up

ADDRESSES = ("10.0.0.11", "10.0.0.12", "pi3.local")


def fleet(folder: Path, *edits: tuple[str, str]) -> RigPlace:
    """A rig for the playbooks, with edits of its rig.toml."""
    wish = RigWish(nodes=3, address="10.0.0.1", node_addresses=ADDRESSES, fleet=True)
    place, _ = set_up(folder, wish)
    text = place.path.read_text()
    for old, new in edits:
        assert old in text
        text = text.replace(old, new, 1)
    place.path.write_text(text)
    return find_rig(folder)


def roles(place: RigPlace) -> dict[str, str]:
    hosts = inventory(place)["_meta"]["hostvars"]
    return {name: variables["tutti_ptp_role"] for name, variables in hosts.items()}


def test_groups_and_addresses(tmp_path: Path) -> None:
    found = inventory(fleet(tmp_path))
    assert found["servers"]["hosts"] == ["server"]
    assert found["nodes"]["hosts"] == ["node0", "node1", "node2"]
    assert found["rig"]["children"] == ["servers", "nodes"]
    hosts = found["_meta"]["hostvars"]
    assert tuple(hosts[name]["ansible_host"] for name in found["nodes"]["hosts"]) == ADDRESSES
    ours = {name for variables in hosts.values() for name in variables}
    assert all(name.startswith(("tutti_", "ansible_")) for name in ours)
    assert hosts["server"]["tutti_stream_ports"] == [f"0.0.0.0:771{i}" for i in range(3)]
    assert hosts["node1"]["tutti_bundle"] == str(tmp_path.resolve() / "nodes" / "node1")


def test_what_the_machines_say_goes_before_what_all_say(tmp_path: Path) -> None:
    place = fleet(
        tmp_path,
        ('# interface = ""\n# Where', 'interface = "enp3s0"\n# Where'),
        ('# interface = ""\n# Sealed', 'interface = "eth0"\n# Sealed'),
        ('name = "node1"', 'name = "node1"\ninterface = "end0"\noverlays = ["imx708,cam0"]'),
        ('# user = "admin"', 'user = "pi"'),
        ('# ssh_address = ""', 'ssh_address = "local"'),
    )
    hosts = inventory(place)["_meta"]["hostvars"]
    interfaces = {name: variables["tutti_interface"] for name, variables in hosts.items()}
    assert interfaces == {"server": "enp3s0", "node0": "eth0", "node1": "end0", "node2": "eth0"}
    assert hosts["node1"]["tutti_overlays"] == ["imx708,cam0"]
    assert (hosts["node0"]["ansible_user"], hosts["node0"]["tutti_ssh_user"]) == ("pi", "pi")
    assert hosts["server"]["ansible_connection"] == "local"


def test_there_is_one_grandmaster(tmp_path: Path) -> None:
    boss = 'ptp = { role = "grandmaster" }\n'
    node0, node1 = ((f'name = "node{n}"', f'{boss}name = "node{n}"') for n in (0, 1))
    assert roles(fleet(tmp_path / "a")) == {
        "server": "grandmaster",
        **dict.fromkeys(("node0", "node1", "node2"), "follower"),
    }
    assert roles(fleet(tmp_path / "b", node0)) == {
        "server": "follower",
        "node0": "grandmaster",
        "node1": "follower",
        "node2": "follower",
    }
    with pytest.raises(InputError, match="not node0, node1"):
        roles(fleet(tmp_path / "c", node0, node1))
    by_ntp = [('clock = "ptp"', 'clock = "ntp"')] * 3
    assert set(roles(fleet(tmp_path / "d", *by_ntp)).values()) == {"none"}


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('name = "node1"', 'name = "server"', "called server"),
        ('clock = "ptp"', 'clock = "shared"', "shares the server's clock"),
        ('supervisor = "systemd"', 'supervisor = "local"', "manager init --fleet|systemd"),
        ('storage = "/var/lib/tutti/sessions"', 'storage = "here"', "absolute"),
        ('name = "node1"', 'name = "node1"\nptp = { domain = 4 }', "domains differ"),
    ],
)
def test_a_rig_no_playbook_can_set_up_is_refused(
    tmp_path: Path, old: str, new: str, complaint: str
) -> None:
    with pytest.raises(InputError, match=complaint):
        inventory(fleet(tmp_path, (old, new)))


def test_a_host_that_is_not_there_is_named(tmp_path: Path) -> None:
    place = fleet(tmp_path)
    assert host_variables(place, "node2")["tutti_cameras"] == ["cam2"]
    with pytest.raises(InputError, match="no host node9"):
        host_variables(place, "node9")


def test_ansible_reads_it_from_the_command(tmp_path: Path) -> None:
    place = fleet(tmp_path)
    command = [sys.executable, "-m", "control_server", "inventory", "--rig", str(place.path)]
    listed = subprocess.run([*command, "--list"], capture_output=True, timeout=60, check=True)
    assert json.loads(listed.stdout) == inventory(place)
    one = subprocess.run([*command, "--host", "node0"], capture_output=True, timeout=60, check=True)
    assert json.loads(one.stdout) == host_variables(place, "node0")


def test_bundles_of_a_fleet_suit_the_agents_unit(tmp_path: Path) -> None:
    place = fleet(tmp_path, ('name = "node2"', 'name = "node2"\nisolated_cpu = 3'))
    bundle = place.nodes / "node2" / "node.toml"
    bundle.write_text(bundle.read_text().replace("spin_us = 200", "spin_us = 300"))
    set_up(tmp_path, RigWish())
    node = load_node(bundle)
    assert (node.state, node.interface) == ("/var/lib/edge-agent", "")
    assert (node.realtime.cpu, node.realtime.spin_us) == (3, 300)


def test_one_address_per_node_or_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="1 node addresses for 2 nodes"):
        set_up(tmp_path, RigWish(nodes=2, node_addresses=("10.0.0.11",)))
    assert not (tmp_path / "rig.toml").exists()
