"""Runs the programs that fetch and build; what they say is shown only if they fail."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

from capture_protocol import EnvironmentLackError, TuttiError


def run(*command: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """The standard output of a program.

    Raises:
        TuttiError: it fails; the message ends with the last of what it said.
        EnvironmentLackError: it is not installed.
    """
    try:
        done = subprocess.run(
            command, cwd=cwd, env=env, capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise EnvironmentLackError(
            f"{command[0]} is missing", hint=f"install what brings it: apt-file search {command[0]}"
        ) from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()[-1500:]
        raise TuttiError(f"{' '.join(map(str, command[:3]))} fails:\n{said}")
    return done.stdout
