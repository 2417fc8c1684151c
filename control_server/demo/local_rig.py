"""A whole rig on this machine: agents with simulated cameras or footage, and their manager.

What `manager demo` and the benchmarks record with. Everything is real but the sensors: agents and
manager are processes of their own that talk over UDP, ZeroMQ and TCP on the loopback interface.
"""

import random
import secrets
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from capture_protocol import EnvironmentLackError, RigConfig
from capture_protocol.publish import publish_text
from capture_protocol.rig import (
    AuditSection,
    CameraConfig,
    NetworkSection,
    NodeEntry,
    ServerSection,
    SessionSection,
)
from control_server.errors import ServerAwayError
from control_server.manager.command_link import call
from control_server.manager.requests import ShutdownRequest
from control_server.rig.place import RIG_NAME, RigPlace
from control_server.rig.setup import RigWish, config_text, set_up

LOOPBACK = "127.0.0.1"
GROUP = "239.84.85.84"
END_WAIT_S = 20.0
"""An agent that was asked to end drains its spool first; past this it is killed."""
_PORTS = range(20_000, 32_000)  # below Linux' ephemeral ports, so that no client takes one


@dataclass(frozen=True, slots=True)
class LocalWish:
    """What a local rig should look like."""

    nodes: int = 3
    cameras_per_node: int = 1
    rate: str = "30"
    gop: int = 30
    segment_gops: int = 2
    footage: Path | None = None
    """Play this file instead of simulating sensors."""
    width: int = 640
    height: int = 480
    audit: AuditSection = field(default_factory=AuditSection)


class LocalRig:
    """Runs the agents of a rig in ``folder`` while the context lasts."""

    def __init__(self, folder: Path, wish: LocalWish) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        publish_text(folder / RIG_NAME, config_text(local_config(wish)))
        self.place: RigPlace = set_up(folder, RigWish())[0]
        self.agents: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> "LocalRig":
        with ExitStack() as undo:
            undo.callback(self.close)
            for node in self.place.config.node:
                self.start_agent(node.name)
            undo.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def start_agent(self, node: str) -> "subprocess.Popen[bytes]":
        """Start one node's agent; its output goes to agent.log in its folder."""
        bundle = self.place.nodes / node
        with (bundle / "agent.log").open("ab") as log:
            agent = subprocess.Popen(
                [agent_command(), "run", "--config", str(bundle / "node.toml")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.agents[node] = agent
        return agent

    def close(self) -> None:
        """End the agents, which drain first, then the manager."""
        for agent in self.agents.values():
            agent.terminate()
        for agent in self.agents.values():
            try:
                agent.wait(END_WAIT_S)
            except subprocess.TimeoutExpired:
                agent.kill()
                agent.wait()
        with suppress(ServerAwayError):
            call(self.place.runtime, ShutdownRequest(), lambda _: None)


def local_config(wish: LocalWish) -> RigConfig:
    """The rig.toml of a local rig, on ports that are free now."""
    count = wish.nodes * wish.cameras_per_node
    base = free_ports(count + 2)
    nodes = [
        NodeEntry(
            name=f"node{node}",
            clock="shared",
            camera=[
                _camera(wish, node * wish.cameras_per_node + camera)
                for camera in range(wish.cameras_per_node)
            ],
        )
        for node in range(wish.nodes)
    ]
    return RigConfig(
        name="demo",
        id=secrets.token_hex(16),
        server=ServerSection(
            address=LOOPBACK,
            listen=LOOPBACK,
            control_port=base,
            stream_port=base + 2,
            reserve_mb=64,
        ),
        network=NetworkSection(group=GROUP, port=base + 1, interface=LOOPBACK),
        session=SessionSection(rate=wish.rate, gop=wish.gop, segment_gops=wish.segment_gops),
        audit=wish.audit,
        node=nodes,
    )


def free_ports(count: int) -> int:
    """The first of ``count`` consecutive ports that are free for TCP and UDP on loopback.

    Raises:
        EnvironmentLackError: no such run of ports was found.
    """
    for _ in range(200):
        base = random.choice(_PORTS[: -count or None])  # noqa: S311 - not a secret
        if all(_is_free(base + port) for port in range(count)):
            return base
    raise EnvironmentLackError(f"no {count} consecutive free ports on {LOOPBACK}")


def agent_command() -> str:
    """Path of `edge-agent`, installed beside this Python.

    Raises:
        EnvironmentLackError: it is not there.
    """
    path = Path(sys.executable).parent / "edge-agent"
    if not path.exists():
        raise EnvironmentLackError(
            f"{path} does not exist", hint="install the distribution into this environment"
        )
    return str(path)


def _camera(wish: LocalWish, index: int) -> CameraConfig:
    if wish.footage is not None:
        return CameraConfig(
            name=f"cam{index}",
            backend="file",
            device=str(wish.footage.resolve()),
            width=wish.width,
            height=wish.height,
        )
    ppm = (-1) ** index * 10.0 * (1 + index % 3)  # no two oscillators agree
    return CameraConfig(
        name=f"cam{index}",
        width=wish.width,
        height=wish.height,
        options={"seed": index + 1, "ppm": ppm},
    )


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                return False
    return True
