"""Where a rig lives on the server: its `rig.toml` and the folders that belong to it."""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from capture_protocol import InputError, RigConfig, load_rig
from capture_protocol.keys import RIG_KEY_NAME, read_rig_key

RIG_NAME = "rig.toml"
RIG_VARIABLE = "TUTTI_RIG"
INSTALLED = Path("/etc/tutti") / RIG_NAME
"""The rig of a server that the playbooks set up."""


@dataclass(frozen=True)
class RigPlace:
    """One rig: its configuration and its folders."""

    path: Path
    """`rig.toml`, absolute."""
    config: RigConfig

    @property
    def folder(self) -> Path:
        """Where rig.toml lies; other paths are relative to it."""
        return self.path.parent

    @property
    def keys(self) -> Path:
        """All of the rig's keys."""
        return self.folder / "keys"

    @property
    def nodes(self) -> Path:
        """One bundle per node: what has to be copied there."""
        return self.folder / "nodes"

    @property
    def storage(self) -> Path:
        """Folder of the sessions."""
        return self.folder / self.config.server.storage

    @property
    def runtime(self) -> Path:
        """Folder of the manager's socket, lock and log."""
        return self.folder / self.config.server.runtime

    @cached_property
    def rig_key(self) -> bytes:
        """The rig's secret.

        Raises:
            InputError: the key is missing or damaged.
        """
        return read_rig_key(self.keys / RIG_KEY_NAME)


def find_rig(given: Path | None) -> RigPlace:
    """The rig a command means: ``--rig``, ``$TUTTI_RIG``, ``./rig.toml``, `/etc/tutti/rig.toml`.

    Args:
        given: a `rig.toml` or the folder of one.

    Raises:
        InputError: there is none, or it is wrong.
    """
    named = given or os.environ.get(RIG_VARIABLE)
    path = Path(named or RIG_NAME)
    try:
        if path.is_dir():
            path = path / RIG_NAME
        if not named and not path.exists() and INSTALLED.exists():
            path = INSTALLED
        if not path.exists():
            raise InputError(
                f"no rig here: {path} does not exist",
                hint=f"make one with: manager init, or name yours with --rig or ${RIG_VARIABLE}",
            )
    except PermissionError as error:
        raise InputError(
            f"you may not look into {Path(error.filename).parent}",
            hint="on a server, rig.toml's server.operators_group is the group that may",
        ) from error
    path = path.resolve()
    return RigPlace(path, load_rig(path))
