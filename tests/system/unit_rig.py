"""Two machines under real systemd with the shipped units: a server, and a node on its own clock.

The software is this checkout's, in a venv of the machine's own Python at /opt/tutti (user tutti may
not see root's home, where this process' Python may lie); everything else is as the playbook puts
it: users, folders, keys, Debian's ptp4l@.service with our drop-in.
"""

import json
import shutil
import sys
import sysconfig
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from capture_protocol.publish import publish_text
from capture_protocol.rig import CameraConfig
from control_server.rig.setup import RigWish, config_text, set_up
from deploy.fleet import Container, Plan, clocks
from deploy.fleet.network import free_network
from deploy.fleet.vclock.vclock import build
from edge_agent.linuxptp import PtpSetup, Role, Stamping, ptp4l_config

ROOT = Path(__file__).parents[2]
VENV = Path("/opt/tutti/.venv")
BIN = VENV / "bin"
INTERFACE = "host0"
SERVER_NUMBER, NODE_NUMBER = 1, 11
WAIT_S = 120.0
SCRIPT = """#!{python}
from {module}.cli import main
if __name__ == "__main__":
    main()
"""
_USERS = (
    "groupadd --system tutti-operators",
    "useradd --system --user-group --shell /usr/sbin/nologin tutti",
    "install -d -o root -g tutti -m 0751 /etc/tutti",
)


class UnitRig:
    """The rig while the context lasts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._undo = ExitStack()

    def __enter__(self) -> "UnitRig":
        with ExitStack() as undo:
            net = free_network("units")
            net.create()
            undo.callback(net.delete)
            addresses = [net.address(number) for number in (SERVER_NUMBER, NODE_NUMBER)]
            self.place = self._make_rig(*addresses)
            library = build(self._folder)
            self.server, self.node = (
                undo.enter_context(self._machine(name, net.bridge, clock, library))
                for name, clock in (
                    ("server", clocks.SERVER_OSCILLATOR),
                    ("node", clocks.oscillator(0)),
                )
            )
            for machine, address in zip((self.server, self.node), addresses, strict=True):
                self._set_up(machine, address)
            self._bring_server()
            self._bring_node()
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *_: Any) -> None:
        self._undo.close()

    def manager(self, *arguments: str) -> Any:
        """Run a `manager` command on the server; its JSON."""
        rig = ("--rig", "/etc/tutti/rig.toml", "--json")
        done = self.server.run(str(BIN / "manager"), *arguments, *rig, check=False)
        assert done.stdout, f"manager {arguments}: {done.stderr}"
        return json.loads(done.stdout)

    def wait_for(self, what: str, condition: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            if value := condition():
                return value
            time.sleep(0.2)
        logs = [
            machine.run("journalctl", "--no-pager", "-o", "cat", "-n", "40", check=False).stdout
            for machine in (self.server, self.node)
        ]
        raise AssertionError(f"waited {WAIT_S:.0f} s in vain: {what}\n" + "\n---\n".join(logs))

    def locked(self) -> bool:
        """Whether the node follows, and its camera is in lock."""
        status = self.manager("status")
        (node,), (camera,) = status["nodes"], status["cameras"]
        return (
            node["clock_source"] == "ptp_software"
            and 0 < node["clock_uncertainty_ns"] < 100_000
            and camera["lock"] == "locked"
        )

    def _make_rig(self, server: str, node: str) -> Any:
        wish = RigWish(name="units", address=server, node_addresses=(node,), fleet=True)
        place, _ = set_up(self._folder / "rig", wish)
        (entry,) = place.config.node
        options = {"true_time": "kernel", "mode": "imx708-1536"}
        camera = CameraConfig(name="cam0", width=320, height=240, options=options)
        entry = entry.model_copy(update={"camera": [camera]})
        publish_text(place.path, config_text(place.config.model_copy(update={"node": [entry]})))
        return set_up(self._folder / "rig", wish)[0]

    def _machine(self, name: str, bridge: str, clock: Any, library: Path) -> Container:
        plan = Plan(name, lower="/", bridge=bridge, in_memory=True, realtime=True, clock=clock)
        machine = Container.create(self._folder / name, plan)
        clocks.install(machine.root, library)
        shutil.copytree(ROOT / "systemd", machine.root / "etc/systemd/system", dirs_exist_ok=True)
        return machine

    def _set_up(self, machine: Container, address: str) -> None:
        for line in (
            f"ip address add {address}/24 dev {INTERFACE}",
            f"ip link set {INTERFACE} up",
            f"ip route add 224.0.0.0/4 dev {INTERFACE}",
            *_USERS,
            f"/usr/bin/python3 -m venv --without-pip {VENV}",
        ):
            machine.run(*line.split())
        install_software(machine)
        role = Role.GRANDMASTER if machine is self.server else Role.FOLLOWER
        config = ptp4l_config(PtpSetup(role, Stamping.SOFTWARE, INTERFACE))
        (machine.root / "etc/linuxptp/ptp4l.conf").write_text(config)
        machine.run("systemctl", "daemon-reload")
        machine.run("systemctl", "start", f"ptp4l@{INTERFACE}")

    def _bring_server(self) -> None:
        etc = self.server.root / "etc/tutti"
        shutil.copy(self.place.path, etc)
        shutil.copytree(self.place.keys, etc / "keys")
        self.server.run("chgrp", "tutti-operators", "/etc/tutti/rig.toml")
        self.server.run("chown", "-R", "tutti:tutti", "/etc/tutti/keys")
        server = self.place.config.server
        socket = f"segmenter@{server.listen}:{server.stream_port}.socket"
        start(self.server, socket, "tutti-manager.service")

    def _bring_node(self) -> None:
        bundle = self.place.nodes / self.place.config.node[0].name
        for path in bundle.iterdir():
            shutil.copy(path, self.node.root / "etc/tutti")
            self.node.run("chown", "tutti:tutti", f"/etc/tutti/{path.name}")
        start(self.node, "edge-agent.service")


def install_software(machine: Container) -> None:
    """This checkout and what it stands on, for the venv that is there already."""
    venv = machine.root / str(VENV).lstrip("/")
    (packages,) = venv.glob("lib/python*/site-packages")
    (packages / "checkout.pth").write_text(f"{sysconfig.get_path('purelib')}\n{ROOT}\n")
    for name, module in (("edge-agent", "edge_agent"), ("manager", "control_server")):
        script = venv / "bin" / name
        script.write_text(SCRIPT.format(python=VENV / "bin/python3", module=module))
        script.chmod(0o755)


def lacking_python() -> str:
    """Why this process' packages cannot be used in the machines; empty if they can."""
    ours = f"{sys.version_info.major}.{sys.version_info.minor}"
    if Path(f"/usr/bin/python{ours}").exists():
        return ""
    return f"needs /usr/bin/python{ours}: the machines use the packages of this venv"


def start(machine: Container, *units: str) -> None:
    """Start units; if that fails, say what the machine said."""
    if machine.run("systemctl", "start", *units, check=False).returncode != 0:
        arguments = ("--no-pager", "-o", "short-monotonic", "-n", "60")
        said = machine.run("journalctl", *arguments).stdout
        raise AssertionError(f"{units} do not start on {machine.plan.name}:\n{said}")


def shown(machine: Container, unit: str, *names: str) -> dict[str, str]:
    """Properties of a unit."""
    text = machine.run("systemctl", "show", unit, "-p", ",".join(names)).stdout
    return dict(line.partition("=")[::2] for line in text.splitlines())


def journal(machine: Container, unit: str) -> list[str]:
    """What a unit has said, line by line."""
    arguments = ("--no-pager", "-o", "cat", f"_SYSTEMD_UNIT={unit}")
    return machine.run("journalctl", *arguments).stdout.splitlines()
