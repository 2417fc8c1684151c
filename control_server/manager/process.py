"""Finds the manager's process, or starts it: commands need not care whether it runs."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from control_server.errors import ServerAwayError
from control_server.manager.command_link import call, is_served, make_runtime
from control_server.rig.place import RigPlace

LOG_NAME = "manager.log"
START_WAIT_S = 15.0
"""A loaded machine needs seconds to import everything; past this something is wrong."""
POLL_S = 0.05


def ask(place: RigPlace, request: BaseModel, progress: Callable[[str], None]) -> dict[str, Any]:
    """Have a request carried out by the manager's process, started if it does not run.

    Raises:
        TuttiError: what went wrong, here or there.
    """
    ensure_served(place)
    return call(place.runtime, request, progress)


def ensure_served(place: RigPlace) -> None:
    """Start the manager's process if it does not run.

    Raises:
        ServerAwayError: it does not start (the message and exit code are its own), or systemd
            should run it and does not.
    """
    if is_served(place.runtime):
        return
    if place.config.segmenter.supervisor == "systemd":
        raise ServerAwayError(
            "the manager's service does not run", hint="sudo systemctl start tutti-manager"
        )
    make_runtime(place.runtime, place.config.server.operators_group)
    _wait_until_served(place, _spawn(place))


def _spawn(place: RigPlace) -> "subprocess.Popen[bytes]":
    """A process of its own session: it outlives the command and its terminal."""
    with (place.runtime / LOG_NAME).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "control_server", "serve", "--rig", str(place.path)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd=place.folder,
        )


def _wait_until_served(place: RigPlace, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_WAIT_S
    while time.monotonic() < deadline:
        ended = process.poll()
        if is_served(place.runtime):
            return
        if ended:
            break
        time.sleep(POLL_S)
    raise _start_error(place.runtime / LOG_NAME, ended)


def _start_error(log: Path, ended: int | None) -> ServerAwayError:
    """What the process said before it ended, with its own exit code."""
    if ended is None:
        return ServerAwayError(
            f"the manager's process has not answered for {START_WAIT_S:.0f} s", hint=f"see {log}"
        )
    said = log.read_text(errors="replace").rpartition("manager: ")[2].strip()
    error = ServerAwayError(
        f"the manager's process does not start: {said}", hint=f"more is in {log}"
    )
    error.exit_code = ended
    return error
