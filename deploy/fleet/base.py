"""The bare root that all machines start from: Debian 12 as a fresh Raspberry Pi has it.

What the playbook brings (linuxptp, chrony, ffmpeg, python3-venv, ...) is left out on purpose.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

from capture_protocol import TuttiError

USER = "admin"
"""Login with sudo, as the first boot leaves it."""
_FOLDER = Path("/var/cache/tutti/fleet-base")
_RECIPE = {
    "suite": "bookworm",
    "mirror": os.environ.get("TUTTI_MIRROR", "http://deb.debian.org/debian"),
    "packages": (
        "systemd systemd-sysv systemd-timesyncd libpam-systemd dbus udev kmod openssh-server sudo "
        "python3 python3-apt iproute2 iputils-ping procps netbase ca-certificates"
    ),
    "steps": 1,  # raised when `_finish` changes
}
_SUDO = f"{USER} ALL=(ALL) NOPASSWD: ALL\n"


def bare_root() -> Path:
    """The root, built if it is not in the cache: some minutes, and the network.

    Raises:
        TuttiError: debootstrap fails.
    """
    key = hashlib.sha256(json.dumps(_RECIPE, sort_keys=True).encode()).hexdigest()[:12]
    _FOLDER.mkdir(parents=True, exist_ok=True)
    with (_FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        root = _FOLDER / key
        if not root.exists():
            partial = _FOLDER / f"{key}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            _bootstrap(partial)
            _finish(partial)
            partial.rename(root)
        return root


def _bootstrap(root: Path) -> None:
    packages = str(_RECIPE["packages"]).replace(" ", ",")
    source = [str(_RECIPE["suite"]), str(root), str(_RECIPE["mirror"])]
    _run("debootstrap", "--variant=minbase", f"--include={packages}", *source)


def _finish(root: Path) -> None:
    """A user with sudo, and the network by systemd-networkd; each machine gets ssh keys later."""
    _run("useradd", "--root", str(root), "--create-home", "--shell", "/bin/bash", USER)
    sudoers = root / "etc/sudoers.d/010_first-boot"
    sudoers.write_text(_SUDO)
    sudoers.chmod(0o440)
    _run("systemctl", f"--root={root}", "enable", "systemd-networkd.service")
    for path in (*root.glob("etc/ssh/ssh_host_*"), *root.glob("var/cache/apt/archives/*.deb")):
        path.unlink()


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise TuttiError(
            f"{command[0]} fails: {(done.stdout + done.stderr)[-600:]}",
            hint="the network is needed once, to build the machines' root",
        )
