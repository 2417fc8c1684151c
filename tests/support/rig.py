"""A rig of real processes that tests may hurt: agents, manager and FFmpegs on loopback."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from capture_protocol import SessionFolder
from control_server.audit import AuditResult, run_audit
from control_server.demo.local_rig import LocalRig, LocalWish
from tests.support.cable import Cable

MANAGER = str(Path(sys.executable).parent / "manager")
WAIT_S = 60.0
POLL_S = 0.05


def wait_for(what: str, condition: Callable[[], Any], wait_s: float = WAIT_S) -> Any:
    """The first true value of ``condition``; fails the test if it stays false."""
    deadline = time.monotonic() + wait_s
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(POLL_S)
    raise AssertionError(f"waited {wait_s:.0f} s in vain: {what}")


class TestRig(LocalRig):
    """A local rig, and the hands to break it with."""

    __test__ = False

    def __init__(self, folder: Path, **wish: Any) -> None:
        super().__init__(folder, LocalWish(**{"nodes": 2, "width": 320, "height": 240, **wish}))
        self._cables: list[Cable] = []

    def edit_node(self, node: str, pattern: str, replacement: str) -> None:
        """Change a line of a node's node.toml; before its agent starts."""
        path = self.place.nodes / node / "node.toml"
        text, count = re.subn(pattern, replacement, path.read_text(), flags=re.MULTILINE)
        assert count == 1, f"{pattern} is found {count} times in {path}"
        path.write_text(text)

    def lay_cable(self, node: str) -> Cable:
        """Lead a node's only stream through a cable."""
        camera = next(
            index for index, entry, _ in self.place.config.cameras() if entry.name == node
        )
        port = self.place.config.server.stream_port + camera
        cable = Cable(("127.0.0.1", port))
        self._cables.append(cable)
        self.edit_node(node, rf"^stream_port = {port}$", f"stream_port = {cable.port}")
        return cable

    def close(self) -> None:
        for cable in self._cables:
            cable.plug()
        super().close()
        for cable in self._cables:
            cable.close()

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a `manager` command."""
        return subprocess.run(
            [MANAGER, *arguments, "--rig", str(self.place.path), "--json"],
            capture_output=True,
            text=True,
            timeout=WAIT_S * 2,
            check=False,
        )

    def ask(self, *arguments: str) -> Any:
        """Run a `manager` command that must succeed; its JSON."""
        done = self.run(*arguments)
        assert done.returncode == 0, f"manager {arguments}: {done.stdout} {done.stderr}"
        return json.loads(done.stdout)

    def status(self) -> Any:
        return self.ask("status")

    def wait_ready(self) -> None:
        """Until every agent is heard and locked."""
        wait_for("all nodes ready", self._is_ready)

    def _is_ready(self) -> bool:
        status = self.status()
        return all(node["heard"] for node in status["nodes"]) and all(
            camera["lock"] == "locked" for camera in status["cameras"]
        )

    def start(self, *arguments: str) -> SessionFolder:
        """Start a session when the rig is ready."""
        self.wait_ready()
        return SessionFolder(Path(self.ask("start", *arguments)["folder"]))

    def wait_for_slot(self, folder: SessionFolder, slot: int) -> None:
        """Until the session's grid has reached a slot."""
        instant_ns = folder.read_plan().grid.time_ns(slot)
        wait_for(f"slot {slot}", lambda: time.time_ns() >= instant_ns)

    def wait_sealed(self, folder: SessionFolder) -> None:
        """Until a session is sealed; some `manager` command must keep the manager alive."""
        wait_for("the session is sealed", folder.read_manifest)

    def ffmpegs(self) -> list[int]:
        """Process ids of this rig's FFmpegs."""
        return [
            pid for pid, line in _command_lines() if "-segment_time" in line and self._owns(pid)
        ]

    def manager_pid(self) -> int:
        """Process id of the manager's process."""
        return int(self.status()["pid"])

    def signal_agent(self, node: str, number: signal.Signals) -> None:
        """Send a signal to an agent and all of its children."""
        os.killpg(self.agents[node].pid, number)

    def _owns(self, pid: int) -> bool:
        try:
            return str(self.place.folder) in os.readlink(f"/proc/{pid}/cwd")
        except OSError:
            return False


def audited(folder: SessionFolder) -> AuditResult:
    """The closing deep audit of a test's session."""
    return run_audit(folder, deep=True).result


def failed(result: AuditResult) -> set[str]:
    """Names of the checks that do not hold."""
    return {check.name for check in result.checks if check.verdict in ("fail", "unknown")}


def _command_lines() -> list[tuple[int, str]]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (
                    (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                )
            except OSError:
                continue
            found.append((int(entry.name), line))
    return found
