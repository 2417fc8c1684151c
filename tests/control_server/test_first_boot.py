"""`manager first-boot`: what a Raspberry Pi reads on its first boot."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from capture_protocol import InputError
from control_server.rig.first_boot import first_boot_files, hostname, public_keys
from control_server.rig.place import RigPlace, find_rig
from control_server.rig.setup import RigWish, set_up

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ8fjYGbe7Hd6ybnCKUs2JFhNuzJWQyYL0gsOlbGMQTh me@lab"
OTHER = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTY= you@lab"


def rig(folder: Path, *edits: tuple[str, str]) -> RigPlace:
    wish = RigWish(
        nodes=2, address="10.0.0.1", node_addresses=("10.0.0.11", "10.0.0.12"), fleet=True
    )
    place, _ = set_up(folder, wish)
    text = place.path.read_text()
    for old, new in [("# ssh_keys = []", f"ssh_keys = ['{KEY}']"), *edits]:
        assert old in text
        text = text.replace(old, new, 1)
    place.path.write_text(text)
    return find_rig(folder)


def files(place: RigPlace, node: int = 0) -> dict[str, Any]:
    """The files of a node, read."""
    texts = first_boot_files(place.config, place.folder, place.config.node[node])
    return {
        path.name: (tomllib.loads if path.suffix == ".toml" else yaml.safe_load)(text)
        for path, text in texts.items()
    }


STATIC = [
    ('address = "10.0.0.11"', 'address = "10.0.0.11"\nstatic_address = "10.0.0.11/24"'),
    ('# gateway = ""', 'gateway = "10.0.0.254"'),
    ("# dns = []", 'dns = ["10.0.0.1"]'),
    ('# interface = ""\n# Sealed', 'interface = "end0"\n# Sealed'),
]


def test_nobody_logs_in_by_password_and_the_key_does(tmp_path: Path) -> None:
    found = files(rig(tmp_path, ('# user = "admin"', 'user = "lab"')))
    (user,) = found["user-data"]["users"]
    assert (user["name"], user["lock_passwd"], user["ssh_authorized_keys"]) == ("lab", True, [KEY])
    assert user["sudo"] == "ALL=(ALL) NOPASSWD:ALL"
    assert found["user-data"]["ssh_pwauth"] is False
    toml = found["custom.toml"]
    assert toml["config_version"] == 1
    assert toml["user"] == {"name": "lab", "password": "!", "password_encrypted": True}
    assert toml["ssh"] == {
        "enabled": True,
        "password_authentication": False,
        "authorized_keys": [KEY],
    }


def test_nodes_differ_in_name_and_identity(tmp_path: Path) -> None:
    place = rig(tmp_path, ('name = "node1"', 'name = "attic_2"'))
    both = [files(place, node) for node in range(2)]
    assert [found["user-data"]["hostname"] for found in both] == ["node0", "attic-2"]
    assert [found["custom.toml"]["system"]["hostname"] for found in both] == ["node0", "attic-2"]
    assert [found["meta-data"]["instance-id"] for found in both] == ["rig-node0", "rig-attic_2"]


def test_cloud_init_knows_its_file_by_the_first_line(tmp_path: Path) -> None:
    place = rig(tmp_path)
    texts = first_boot_files(place.config, place.folder, place.config.node[0])
    assert texts[Path("trixie/user-data")].splitlines()[0] == "#cloud-config"


def test_network_is_dhcp_or_what_rig_toml_says(tmp_path: Path) -> None:
    place = rig(tmp_path, *STATIC)
    assert files(place, 0)["network-config"]["network"]["ethernets"] == {
        "end0": {
            "dhcp4": False,
            "optional": True,
            "addresses": ["10.0.0.11/24"],
            "routes": [{"to": "default", "via": "10.0.0.254"}],
            "nameservers": {"addresses": ["10.0.0.1"]},
        }
    }
    assert files(place, 1)["network-config"]["network"]["ethernets"] == {
        "end0": {"dhcp4": True, "optional": True}
    }


def test_keys_come_from_lines_and_files(tmp_path: Path) -> None:
    (tmp_path / "team.pub").write_text(f"# the team\n\n{OTHER}\n")
    place = rig(tmp_path, ("ssh_keys = [", 'ssh_keys = ["team.pub", '))
    assert public_keys(place.config, place.folder) == [OTHER, KEY]


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ("[]", "nobody could log in"),
        ('["nowhere.pub"]', "cannot be read"),
        ('["id_ed25519"]', "no public ssh keys"),
    ],
)
def test_keys_that_let_nobody_in_are_refused(tmp_path: Path, keys: str, complaint: str) -> None:
    (tmp_path / "id_ed25519").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Blb\n")
    place = rig(tmp_path, (f"ssh_keys = ['{KEY}']", f"ssh_keys = {keys}"))
    with pytest.raises(InputError, match=complaint):
        files(place)


def test_a_hosts_name_has_no_underscore(tmp_path: Path) -> None:
    node = rig(tmp_path).config.node[0]
    names = ["pi1", "top_left", "x_-"]
    assert [hostname(node.model_copy(update={"name": name})) for name in names] == [
        "pi1",
        "top-left",
        "x",
    ]


def test_two_nodes_of_one_hostname_are_refused(tmp_path: Path) -> None:
    place = rig(tmp_path, ('name = "node0"', 'name = "a-b"'), ('name = "node1"', 'name = "a_b"'))
    with pytest.raises(InputError, match="hostname a-b"):
        files(place)


def command(place: RigPlace, out: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    start = [sys.executable, "-m", "control_server", "first-boot", "--rig", str(place.path)]
    return subprocess.run(
        [*start, "--out", str(out), *options], capture_output=True, text=True, check=False
    )


def test_a_foreign_file_is_not_overwritten_in_silence(tmp_path: Path) -> None:
    place, out = rig(tmp_path / "rig", *STATIC), tmp_path / "cards"
    first = command(place, out)
    assert first.returncode == 0, first.stderr
    assert "fixed leases" in first.stdout
    assert len([path for path in out.rglob("*") if path.is_file()]) == 8
    foreign = out / "node0/trixie/user-data"
    foreign.write_text("#cloud-config\nhostname: mine\n")
    refused = command(place, out)
    assert refused.returncode == 2
    assert str(foreign) in refused.stderr
    assert "mine" in foreign.read_text()
    forced = command(place, out, "--force", "--node", "node0", "--json")
    assert json.loads(forced.stdout)["replaced"] == [str(foreign)]
    assert len(json.loads(forced.stdout)["written"]) == 4
    assert "node0" in foreign.read_text()
    assert command(place, out, "--node", "node7").returncode == 2
