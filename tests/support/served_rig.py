"""A rig with a real manager process and fake agents, for tests."""

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from capture_protocol import Manifest, RigConfig, SessionFolder
from capture_protocol.publish import publish_text
from capture_protocol.rig import (
    CameraConfig,
    NetworkSection,
    NodeEntry,
    ServerSection,
    SessionSection,
)
from control_server.demo.local_rig import free_ports
from control_server.manager.command_link import call, is_served
from control_server.manager.process import ask, ensure_served
from control_server.manager.requests import (
    ShutdownRequest,
    StartRequest,
    Status,
    StatusRequest,
    StopRequest,
)
from control_server.rig.place import RIG_NAME, RigPlace
from control_server.rig.setup import RigWish, config_text, set_up
from control_server.session.counter import session_folder
from tests.support.fake_agent import FakeAgent

WAIT_S = 20.0
MANAGER = Path(sys.executable).parent / "manager"


class ServedRig:
    """Ends every process that it started, by its id."""

    def __init__(self, folder: Path, nodes: int = 2, cameras: int = 1, **changes: Any) -> None:
        publish_text(folder / RIG_NAME, config_text(rig_config(nodes, cameras, changes)))
        self.place: RigPlace = set_up(folder, RigWish())[0]
        self.agents: list[FakeAgent] = []

    def add_agent(self, node: int, **knobs: Any) -> FakeAgent:
        agent = FakeAgent(self.place.nodes / f"node{node}", **knobs)
        self.agents.append(agent)
        agent.start()
        return agent

    def add_agents(self) -> list[FakeAgent]:
        return [self.add_agent(node) for node in range(len(self.place.config.node))]

    def serve(self) -> None:
        ensure_served(self.place)

    def start(self, **request: Any) -> dict[str, Any]:
        return ask(self.place, StartRequest(**request), lambda _: None)

    def stop(self) -> dict[str, Any]:
        return ask(self.place, StopRequest(), lambda _: None)

    def status(self) -> Status:
        return Status.model_validate(ask(self.place, StatusRequest(), lambda _: None))

    def kill_server(self) -> None:
        """As `kill -9`; returns when it is gone."""
        os.kill(self.status().pid, signal.SIGKILL)
        wait_until(lambda: not is_served(self.place.runtime), "the server to be gone")

    def folder(self, session: int) -> SessionFolder:
        return session_folder(self.place.storage, session)

    def sealed(self, session: int, complete: bool = True) -> Manifest:
        """The manifest, waited for."""
        folder = self.folder(session)
        wait_until(
            lambda: (found := folder.read_manifest()) is not None and found.complete >= complete,
            f"session {session} to be sealed",
        )
        manifest = folder.read_manifest()
        if manifest is None:
            raise AssertionError("sealed and gone")
        return manifest

    def manager(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run the real command."""
        command = [str(MANAGER), *arguments, "--rig", str(self.place.path)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def ffmpegs(self, camera: str) -> list[int]:
        """Process ids of the FFmpegs that write a camera of this rig."""
        folder = str(self.place.storage)
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    arguments = (entry / "cmdline").read_bytes().decode(errors="replace")
                    where = os.readlink(entry / "cwd")
                except OSError:
                    continue
                if f"_{camera}_p" in arguments and where.startswith(folder):
                    found.append(int(entry.name))
        return found

    def close(self) -> None:
        for agent in self.agents:
            agent.end()
        if self.place.runtime.exists() and is_served(self.place.runtime):
            call(self.place.runtime, ShutdownRequest(), lambda _: None)
            wait_until(lambda: not is_served(self.place.runtime), "the server to end")
        for _, _, camera in self.place.config.cameras():
            for process in self.ffmpegs(camera.name):
                os.kill(process, signal.SIGKILL)

    def __enter__(self) -> "ServedRig":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def rig_config(nodes: int, cameras: int, changes: dict[str, Any]) -> RigConfig:
    """Short everything: sessions of seconds, segments of a third of one."""
    base = free_ports(nodes * cameras + 2)
    server = {"reserve_mb": 16, **changes.get("server", {})}
    session = {"gop": 10, "segment_gops": 1, "lead_ms": 500, "drain_timeout_s": 20.0}
    return RigConfig(
        name="test",
        id=secrets.token_hex(16),
        server=ServerSection(control_port=base, stream_port=base + 2, **server),
        network=NetworkSection(group="239.84.85.84", port=base + 1, interface="127.0.0.1"),
        session=SessionSection(**{**session, **changes.get("session", {})}),
        node=[
            NodeEntry(
                name=f"node{node}",
                clock="shared",
                camera=[
                    CameraConfig(name=f"cam{node * cameras + camera}", width=64, height=48)
                    for camera in range(cameras)
                ],
            )
            for node in range(nodes)
        ],
    )


def wait_until(holds: Callable[[], object], what: str, timeout_s: float = WAIT_S) -> None:
    """Poll until something holds; fails the test by name when it does not."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s} s for {what}")
        time.sleep(0.02)
