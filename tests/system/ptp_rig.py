"""A rig of simulated nodes, each with a clock of its own that stock ptp4l disciplines.

Server and nodes are hosts in namespaces. The server reads the kernel's CLOCK_REALTIME and is
grandmaster; every program of a node lives by the node's virtual clock. Cameras are simulated; their
optical clocks show the kernel's time, which is the truth here.
"""

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from capture_protocol import SessionFolder, read_clock
from capture_protocol.errors import TuttiError
from capture_protocol.publish import publish_text
from capture_protocol.rig import (
    AuditSection,
    CameraConfig,
    NetworkSection,
    NodeEntry,
    RigConfig,
    ServerSection,
    SessionSection,
)
from control_server.rig.place import RIG_NAME, RigPlace
from control_server.rig.setup import RigWish, config_text, set_up
from deploy.fleet.clocks import oscillator
from deploy.fleet.processes import children, kill
from deploy.fleet.vclock.vclock import VirtualClock, build
from edge_agent.linuxptp import PtpSetup, Role, Stamping, ptp4l_config
from tests.system.namespaces import Host, Segment

BIN = Path(sys.executable).parent
SERVER = "server"
OSCILLATORS = {f"node{number}": oscillator(number) for number in range(3)}
WAIT_S = 60.0
STEP = """
import sys, time
time.clock_settime_ns(time.CLOCK_REALTIME, time.time_ns() + int(sys.argv[1]))
print(time.monotonic_ns())
"""


class PtpRig:
    """Runs the whole rig while the context lasts."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        publish_text(folder / RIG_NAME, config_text(rig_config()))
        self.place: RigPlace = set_up(folder, RigWish())[0]
        self.library = build(folder)
        self.status: Any = None
        self.grandmaster: subprocess.Popen[bytes] | None = None
        self._undo = ExitStack()

    def __enter__(self) -> "PtpRig":
        with ExitStack() as undo:
            self._segment = undo.enter_context(Segment(SERVER, *OSCILLATORS))
            self.start_grandmaster()
            self.clocks = {name: self._clock(name) for name in OSCILLATORS}
            for name in OSCILLATORS:
                self.start_ptp4l(name, Role.FOLLOWER)
                self._start(name, str(BIN / "edge-agent"), "run", "--config", self._bundle(name))
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *_: Any) -> None:
        self._undo.close()

    def host(self, name: str) -> Host:
        return self._segment.hosts[name]

    def start_grandmaster(self) -> None:
        self.grandmaster = self.start_ptp4l(SERVER, Role.GRANDMASTER)

    def kill_grandmaster(self) -> None:
        assert self.grandmaster is not None
        for pid in children(self.grandmaster.pid):
            kill(pid)
        self.grandmaster.wait()

    def start_ptp4l(self, name: str, role: Role) -> "subprocess.Popen[bytes]":
        config = self.folder / f"{name}.ptp4l.conf"
        config.write_text(ptp4l_config(PtpSetup(role, Stamping.SOFTWARE, "eth0")))
        # Real-time priority as a node's unit gives it: a servo that runs late overshoots.
        return self._start(name, "chrt", "-f", "60", "ptp4l", "-m", "-q", "-f", str(config))

    def step(self, name: str, step_ns: int) -> int:
        """Set one node's clock, as a careless administrator does; when it was (true UTC)."""
        done = self.host(name).run(sys.executable, "-c", STEP, str(step_ns), env=self._env(name))
        return read_clock().to_real_ns(int(done))

    def check(self, name: str) -> Any:
        """What `edge-agent check` says on a node, by point."""
        command = [str(BIN / "edge-agent"), "check", "--config", self._bundle(name), "--json"]
        done = subprocess.run(
            self.host(name).inside(*command),
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **self._env(name)},
        )
        assert done.returncode in (0, 1), done.stderr
        return {line["point"]: line for line in json.loads(done.stdout)}

    def manager(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a `manager` command on the server."""
        command = [str(BIN / "manager"), *arguments, "--rig", str(self.place.path), "--json"]
        return subprocess.run(
            self.host(SERVER).inside(*command),
            capture_output=True,
            text=True,
            check=False,
            timeout=2 * WAIT_S,
        )

    def ask(self, *arguments: str) -> Any:
        """Run a `manager` command that must succeed; its JSON."""
        done = self.manager(*arguments)
        assert done.returncode == 0, f"manager {arguments}: {done.stdout}{done.stderr}"
        return json.loads(done.stdout)

    def wait_ready(self, settled_ns: int) -> float:
        """Until every clock claims to be good and every camera is in lock; how long it took (s)."""
        begun = time.monotonic()
        self._wait("all nodes ready", lambda: self._is_ready(settled_ns))
        return time.monotonic() - begun

    def settle(self, settled_ns: int) -> float:
        """Give all clocks `WAIT_S` to claim no more than this; what the worst claims then (ns)."""
        deadline = time.monotonic() + WAIT_S
        while not self._is_ready(settled_ns) and time.monotonic() < deadline:
            time.sleep(0.1)
        return max(node["clock_uncertainty_ns"] for node in self.status["nodes"])

    def record(self, seconds: int, meanwhile: Callable[[SessionFolder], None]) -> SessionFolder:
        """Record a session, doing something to the rig meanwhile; until it is sealed."""
        frames = seconds * int(self.place.config.session.rate)
        folder = SessionFolder(Path(self._begin(frames)["folder"]))
        meanwhile(folder)
        self._wait("the session is sealed", folder.read_manifest)
        return folder

    def wait_for_slot(self, folder: SessionFolder, slot: int) -> None:
        """Until the session's grid has reached a slot; the kernel's clock is the grid's."""
        instant_ns = folder.read_plan().grid.time_ns(slot)
        self._wait(f"slot {slot}", lambda: time.time_ns() >= instant_ns)

    def _begin(self, frames: int) -> Any:
        """What `manager start` tells; asked again while a clock that has not settled forbids it."""
        deadline = time.monotonic() + WAIT_S
        while (
            done := self.manager("start", "--frames", str(frames))
        ).returncode == TuttiError.exit_code:
            assert time.monotonic() < deadline, done.stderr
            time.sleep(0.5)
        assert done.returncode == 0, f"{done.stdout}{done.stderr}"
        return json.loads(done.stdout)

    def _is_ready(self, settled_ns: int) -> bool:
        self.status = status = self.ask("status")
        bounds_ns = [node["clock_uncertainty_ns"] for node in status["nodes"] if node["heard"]]
        settled = [bound_ns for bound_ns in bounds_ns if 0 < bound_ns < settled_ns]
        locked = [camera for camera in status["cameras"] if camera["lock"] == "locked"]
        return len(settled) == len(locked) == len(OSCILLATORS)

    def _wait(self, what: str, condition: Callable[[], Any]) -> None:
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            if condition():
                return
            time.sleep(0.1)
        logs = [f"{log.name}:\n{log.read_text()[-600:]}" for log in self.folder.glob("*.log")]
        raise AssertionError(
            f"waited {WAIT_S:.0f} s in vain: {what}\n{json.dumps(self.status)}\n" + "\n".join(logs)
        )

    def _start(self, name: str, *command: str) -> "subprocess.Popen[bytes]":
        log = self.folder / f"{name}.{Path(command[0]).name}.log"
        return self.host(name).start(*command, log=log, env=self._env(name))

    def _clock(self, name: str) -> VirtualClock:
        clock = VirtualClock(self.folder / f"{name}.clock")
        clock.wind(OSCILLATORS[name])
        return clock

    def _env(self, name: str) -> dict[str, str]:
        return self.clocks[name].environment(self.library) if name != SERVER else {}

    def _bundle(self, name: str) -> str:
        return str(self.place.nodes / name / "node.toml")


def rig_config() -> RigConfig:
    """Three nodes with a free-running camera each, the server at the first address."""
    address = Segment.address(1)
    nodes = [
        NodeEntry(
            name=name,
            address=Segment.address(2 + index),
            clock="ptp",
            camera=[
                CameraConfig(
                    name=f"cam{index}",
                    width=320,
                    height=240,
                    options={"seed": index + 1, "true_time": "kernel", "mode": "imx708-1536"},
                )
            ],
        )
        for index, name in enumerate(OSCILLATORS)
    ]
    return RigConfig(
        name="ptp",
        id=secrets.token_hex(16),
        server=ServerSection(address=address, listen=address, reserve_mb=64),
        network=NetworkSection(),
        session=SessionSection(gop=15, segment_gops=4),
        audit=AuditSection(),
        node=nodes,
    )
