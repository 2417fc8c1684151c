"""What `manager first-boot` writes, carried out by the cloud-init that Raspberry Pi OS trixie has.

A Debian trixie container with cloud-init, told as Raspberry Pi's image tells it to read the boot
partition (stage2/04-cloud-init/files/99_raspberry-pi.cfg of RPi-Distro/pi-gen). Not a Pi: its
kernel, its NetworkManager and its own first-boot programs are not here.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from control_server.rig.first_boot import first_boot_files
from control_server.rig.place import find_rig
from control_server.rig.setup import RigWish, set_up
from deploy.fleet import Container, Plan, lacking

SWITCH = "TUTTI_TEST_FIRST_BOOT"
BASE = Path("/var/cache/tutti/trixie-first-boot")
PACKAGES = "cloud-init,netplan.io,systemd,systemd-sysv,dbus,openssh-server,sudo,python3,iproute2"
MIRROR = os.environ.get("TUTTI_MIRROR", "http://deb.debian.org/debian")
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ8fjYGbe7Hd6ybnCKUs2JFhNuzJWQyYL0gsOlbGMQTh me@lab"
IMAGE_CONFIG = """\
datasource_list: [NoCloud, None]
datasource:
  NoCloud:
    seedfrom: file:///boot/firmware
"""
pytestmark = [
    pytest.mark.root,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(
        SWITCH not in os.environ, reason=f"set {SWITCH}=1 (root; the network the first time; 3 min)"
    ),
    pytest.mark.skipif(bool(lacking()), reason=lacking() or "-"),
]


@pytest.fixture(scope="module")
def card() -> Iterator[Container]:
    """A machine, still off, whose boot partition has a node's files."""
    if not BASE.exists():
        partial = BASE.with_name(f"{BASE.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        bootstrap = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "trixie"]
        subprocess.run([*bootstrap, str(partial), MIRROR], check=True, capture_output=True)
        partial.rename(BASE)
    with tempfile.TemporaryDirectory(prefix="tutti-first-boot-") as space:
        plan = Plan(name="raspberrypi", lower=str(BASE))
        container = Container.create(Path(space) / "node", plan)
        try:
            write_boot_partition(container.root, Path(space) / "rig")
            yield container
        finally:
            container.close()


def write_boot_partition(root: Path, folder: Path) -> None:
    wish = RigWish(name="lab", nodes=1, address="10.0.0.1", node_addresses=("10.0.0.11",))
    place, _ = set_up(folder, wish)
    text = place.path.read_text()
    for old, new in (
        ("# ssh_keys = []", f"ssh_keys = ['{KEY}']"),
        ('name = "node0"', 'name = "top_left"\nstatic_address = "10.0.0.11/24"'),
        ('# gateway = ""', 'gateway = "10.0.0.254"'),
        ("# dns = []", 'dns = ["10.0.0.253"]'),
    ):
        assert old in text
        text = text.replace(old, new, 1)
    place.path.write_text(text)
    place = find_rig(folder)
    boot = root / "boot/firmware"
    boot.mkdir(parents=True)
    for path, content in first_boot_files(place.config, folder, place.config.node[0]).items():
        if path.parent.name == "trixie":
            (boot / path.name).write_text(content)
    (root / "etc/cloud/cloud.cfg.d/99_raspberry-pi.cfg").write_text(IMAGE_CONFIG)


@pytest.fixture(scope="module")
def booted(card: Container) -> Container:
    """The machine after its first boot."""
    card.power_on()
    done = card.run("cloud-init", "status", "--wait", "--long", check=False)
    print(f"\n{done.stdout}")
    assert "status: done" in done.stdout, card.run("cat", "/var/log/cloud-init.log").stdout[-5000:]
    return card


def test_the_login_has_the_key_sudo_and_no_password(booted: Container) -> None:
    assert booted.run("getent", "passwd", "admin").stdout.endswith("/home/admin:/bin/bash\n")
    assert booted.run("getent", "shadow", "admin").stdout.startswith("admin:!:")
    assert booted.run("cat", "/home/admin/.ssh/authorized_keys").stdout.splitlines() == [KEY]
    assert booted.run("su", "admin", "-c", "sudo -n id -un").stdout.strip() == "root"
    assert "passwordauthentication no" in booted.run("/usr/sbin/sshd", "-T").stdout.splitlines()
    assert booted.run("systemctl", "is-active", "ssh.service").stdout.strip() == "active"
    assert booted.run("systemctl", "is-enabled", "ssh.service").stdout.strip() == "enabled"


def test_the_node_has_its_name_and_address(booted: Container) -> None:
    assert booted.run("hostname").stdout.strip() == "top-left"
    assert booted.run("cat", "/etc/hostname").stdout.strip() == "top-left"
    assert "Etc/UTC" in booted.run("readlink", "/etc/localtime").stdout
    network = yaml.safe_load(booted.run("netplan", "get").stdout)["network"]
    assert network["ethernets"]["eth0"] == {
        "dhcp4": False,
        "optional": True,
        "addresses": ["10.0.0.11/24"],
        "routes": [{"to": "default", "via": "10.0.0.254"}],
        "nameservers": {"addresses": ["10.0.0.253"]},
    }


def test_the_files_are_what_cloud_init_understands(booted: Container) -> None:
    for kind, name in (("cloud-config", "user-data"), ("network-config", "network-config")):
        check = ["cloud-init", "schema", "--schema-type", kind, "--config-file"]
        done = booted.run(*check, f"/boot/firmware/{name}", check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"Valid schema /boot/firmware/{name}" in done.stdout
