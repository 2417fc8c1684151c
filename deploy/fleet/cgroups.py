"""A control group for each container: nspawn hands it over to the systemd inside.

On a host with cgroup v2 there is one hierarchy; a hybrid host has v2 beside systemd's own v1 one,
and nspawn wants a group in both.
"""

import os
from pathlib import Path

_MOUNT = Path("/sys/fs/cgroup")
_HYBRID = ("unified", "systemd")


def groups(name: str) -> list[Path]:
    """The folders of a container's groups, whether they exist or not."""
    if (_MOUNT / "cgroup.controllers").exists():
        return [_MOUNT / f"tutti-{name}"]
    return [_MOUNT / kind / f"tutti-{name}" for kind in _HYBRID if (_MOUNT / kind).is_dir()]


def command_in(name: str, command: list[str]) -> list[str]:
    """The command line that runs a command in the container's groups, which are made now."""
    files = []
    for group in groups(name):
        group.mkdir(exist_ok=True)
        files.append(str(group / "cgroup.procs"))
    enter = 'while [ "$1" != -- ]; do echo $$ > "$1"; shift; done; shift; exec "$@"'
    return ["sh", "-c", enter, "sh", *files, "--", *command]


def remove(name: str) -> None:
    """Remove the container's groups and those that its systemd made; all processes have ended."""
    for group in groups(name):
        for folder, _, _ in os.walk(group, topdown=False):
            Path(folder).rmdir()
