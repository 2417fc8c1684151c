"""What `manager first-boot` writes, carried out by the cloud-init that Raspberry Pi OS trixie has.

A Debian trixie root with cloud-init, told as Raspberry Pi's image tells it to read the boot
partition (stage2/04-cloud-init/files/99_raspberry-pi.cfg of RPi-Distro/pi-gen). Not a Pi: its
kernel, its NetworkManager and its own first-boot programs are not here.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from control_server.rig.first_boot import first_boot_files
from control_server.rig.place import find_rig
from control_server.rig.setup import RigWish, set_up

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
    pytest.mark.skipif(os.getuid() != 0, reason="a root file system is needed: run as root"),
    pytest.mark.skipif(
        not BASE.exists() and shutil.which("debootstrap") is None,
        reason="debootstrap is missing: apt install debootstrap",
    ),
]


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The root of a card whose boot partition has a node's files; thrown away afterwards."""
    if not BASE.exists():
        partial = BASE.with_name(f"{BASE.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        bootstrap = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "trixie"]
        subprocess.run([*bootstrap, str(partial), MIRROR], check=True, capture_output=True)
        partial.rename(BASE)
    space = tmp_path_factory.mktemp("card")
    upper, work, root = (space / name for name in ("upper", "work", "root"))
    for folder in (upper, work, root):
        folder.mkdir()
    layers = f"lowerdir={BASE},upperdir={upper},workdir={work}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, str(root)], check=True)
    try:
        write_boot_partition(root, space / "rig")
        yield root
    finally:
        subprocess.run(["umount", str(root)], check=True)


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


def on(root: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    """A program on the card, with a hostname and mounts of its own."""
    spaces = ["unshare", "--mount", "--uts", "--net", "--pid", "--fork"]
    return subprocess.run(
        [*spaces, f"--mount-proc={root}/proc", "chroot", str(root), *command],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def booted(card: Path) -> Path:
    """cloud-init's stages, as its units run them."""
    for stage in (
        ["init", "--local"],
        ["init"],
        ["modules", "--mode=config"],
        ["modules", "--mode=final"],
    ):
        done = on(card, "cloud-init", *stage)
        assert done.returncode == 0, f"{stage}: {done.stdout}{done.stderr}"
        print(done.stdout)
    return card


def test_the_files_are_what_cloud_init_understands(card: Path) -> None:
    for kind, name in (("cloud-config", "user-data"), ("network-config", "network-config")):
        check = ["cloud-init", "schema", "--schema-type", kind, "--config-file"]
        done = on(card, *check, f"/boot/firmware/{name}")
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"Valid schema /boot/firmware/{name}" in done.stdout


def test_the_login_has_the_key_sudo_and_no_password(booted: Path) -> None:
    entries = dict(line.split(":", 1) for line in (booted / "etc/passwd").read_text().splitlines())
    assert entries["admin"].endswith("/home/admin:/bin/bash")
    shadow = dict(line.split(":", 1) for line in (booted / "etc/shadow").read_text().splitlines())
    assert shadow["admin"].startswith("!")
    assert (booted / "home/admin/.ssh/authorized_keys").read_text().splitlines() == [KEY]
    allowed = on(booted, "sudo", "-l", "-U", "admin").stdout
    assert "(ALL) NOPASSWD: ALL" in allowed
    sshd = on(booted, "/usr/sbin/sshd", "-T").stdout
    assert "passwordauthentication no" in sshd.splitlines()
    assert on(booted, "systemctl", "is-enabled", "ssh.service").stdout.strip() == "enabled"


def test_the_node_has_its_name_and_address(booted: Path) -> None:
    assert (booted / "etc/hostname").read_text().strip() == "top-left"
    assert "top-left" in (booted / "etc/hosts").read_text()
    assert (booted / "etc/localtime").readlink().name == "UTC"
    done = on(booted, "netplan", "get", "--root-dir", "/")
    assert yaml.safe_load(done.stdout)["network"]["ethernets"]["eth0"] == {
        "dhcp4": False,
        "optional": True,
        "addresses": ["10.0.0.11/24"],
        "routes": [{"to": "default", "via": "10.0.0.254"}],
        "nameservers": {"addresses": ["10.0.0.253"]},
    }
