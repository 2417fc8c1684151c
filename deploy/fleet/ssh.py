"""ssh into the machines of a fleet, with a key of the fleet's own."""

import shutil
import subprocess
from pathlib import Path

from capture_protocol.publish import publish_text
from deploy.fleet.base import USER

KEY_NAME = "id_ed25519"
CONFIG_NAME = "ssh_config"
_HOME_OWNER = 1000


def make_key(folder: Path) -> Path:
    """A key pair in the folder; the secret one's path."""
    key = folder / KEY_NAME
    _keygen("-q", "-t", "ed25519", "-N", "", "-C", "fleet-in-a-box", "-f", str(key))
    return key


def install(root: Path, key: Path) -> None:
    """What a first boot does: the machine's own key, and whom it lets in."""
    _keygen("-q", "-t", "ed25519", "-N", "", "-f", str(root / "etc/ssh/ssh_host_ed25519_key"))
    folder = root / "home" / USER / ".ssh"
    folder.mkdir(mode=0o700)
    shutil.copy(key.with_suffix(".pub"), folder / "authorized_keys")
    for path in (folder, folder / "authorized_keys"):
        shutil.chown(path, _HOME_OWNER, _HOME_OWNER)


def write_config(folder: Path, addresses: dict[str, str]) -> Path:
    """A configuration that knows the machines by name and address: ``ssh -F CONFIG node0``."""
    lines = [
        f"Host {' '.join(addresses.values())} {' '.join(addresses)}",
        f"  User {USER}",
        f"  IdentityFile {folder / KEY_NAME}",
        "  IdentitiesOnly yes",
        # The machines are new every time, on a network of their own.
        "  StrictHostKeyChecking no",
        "  UserKnownHostsFile /dev/null",
        "  LogLevel ERROR",
    ]
    for name, address in addresses.items():
        lines += [f"Host {name}", f"  HostName {address}"]
    path = folder / CONFIG_NAME
    publish_text(path, "\n".join(lines) + "\n")
    return path


def command(folder: Path, name: str, *words: str) -> list[str]:
    """The command line that runs a command on a machine, or logs in."""
    return ["ssh", "-F", str(folder / CONFIG_NAME), name, *words]


def _keygen(*arguments: str) -> None:
    subprocess.run(["ssh-keygen", *arguments], check=True)
