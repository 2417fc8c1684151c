"""One machine of its own: real systemd on a throw-away overlay of a root, booted by nspawn.

Everything about it lies in its folder, so that any process may look after it: it runs on when the
one that started it has ended (`deploy.fleet.mains` holds it), and `close` takes it away.
"""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from capture_protocol.publish import publish_bytes
from deploy.fleet import cgroups
from deploy.fleet.processes import children, comm, is_alive, kill
from deploy.fleet.vclock.vclock import Oscillator

MAINS_NAME = "mains.pid"
_PLAN_NAME = "plan.json"
_WAIT_S = 60.0
_MASKED = (
    "systemd-timesyncd.service",
    "getty.target",
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
)
"""Units that make no sense in a container."""
_CHECKOUT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Plan:
    """What a container is made of."""

    name: str
    """Its host name."""
    lower: str
    """The root that it is a copy of."""
    bridge: str = ""
    """Bridge that its interface host0 is plugged into; empty: no network."""
    in_memory: bool = False
    """What it writes goes to memory: necessary above this machine's own root."""
    clock: Oscillator | None = None
    """Its virtual clock at first power-on; none: the kernel's."""
    clock_later: Oscillator | None = None
    """The same clock at any later power-on; none: as at the first."""
    realtime: bool = False
    """Its programs may lock memory and take real-time priority, as if its cores were its own."""


_PLANS = TypeAdapter(Plan)


class Container:
    """A machine in a folder; as a context it is booted, and gone afterwards."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.root = self.folder / "disk" / "root"
        self.shared_memory = self.folder / "shm"
        """Its /dev/shm, which sandboxes of systemd leave visible: the virtual clock is in it."""
        self.clock_file = self.shared_memory / "vclock"

    @classmethod
    def create(cls, folder: Path, plan: Plan) -> "Container":
        """A new machine, powered off: its root may be changed before it is booted."""
        container = cls(folder)
        container.folder.mkdir(parents=True)
        publish_bytes(container.folder / _PLAN_NAME, _PLANS.dump_json(plan, indent=1))
        container._mount(plan)
        return container

    @property
    def plan(self) -> Plan:
        """What it is made of."""
        return _PLANS.validate_json((self.folder / _PLAN_NAME).read_bytes())

    @property
    def unique_name(self) -> str:
        """A name that no other container of this machine has."""
        return f"{self.folder.name}-{hashlib.sha256(bytes(self.folder)).hexdigest()[:6]}"

    def __enter__(self) -> "Container":
        try:
            self.power_on()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    @property
    def leader(self) -> int:
        """Process number, on this machine, of its process 1; 0 while it is off."""
        for nspawn in children(self._mains):
            for leader in children(nspawn):
                if comm(leader) == "systemd":
                    return leader
        return 0

    @property
    def is_up(self) -> bool:
        """Whether its systemd has finished booting."""
        if not self.leader:
            return False
        state = self.run("systemctl", "is-system-running", check=False).stdout.strip()
        return state in ("running", "degraded")

    def run(self, *command: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run a command in the container.

        Raises:
            RuntimeError: it failed, and ``check`` is wanted.
        """
        done = subprocess.run(
            self.inside(*command), capture_output=True, text=True, check=False, timeout=2 * _WAIT_S
        )
        if check and done.returncode != 0:
            raise RuntimeError(f"{self.folder.name}: {command}: {done.stdout}{done.stderr}")
        return done

    def inside(self, *command: str) -> list[str]:
        """The command line that runs a command in the container."""
        return ["nsenter", "-t", str(self.leader), "-m", "-u", "-i", "-n", "-p", "-C", *command]

    def power_on(self) -> None:
        """Boot, and wait until systemd is up."""
        self.switch_on()
        self.wait_until_up()

    def switch_on(self) -> None:
        """Boot; returns at once."""
        with (self.folder / "console.log").open("ab") as log:
            mains = ["setsid", "--fork", sys.executable, "-m", "deploy.fleet.mains"]
            subprocess.run(
                [*mains, str(self.folder)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=_CHECKOUT,
                check=True,
            )

    def wait_until_up(self, other_than: int = 0) -> None:
        """Wait until systemd is up.

        Args:
            other_than: a process 1 that does not count: it is on its way down.

        Raises:
            RuntimeError: it does not boot.
        """
        self._wait("boot", lambda: self.leader not in (0, other_than) and self.is_up)

    def reboot(self) -> None:
        """`systemctl reboot`, and wait until it is up again."""
        before = self.leader
        self.run("systemctl", "reboot", check=False)
        self.wait_until_up(other_than=before)

    def cut_power(self) -> None:
        """As if its plug were pulled: nothing in it has a say."""
        mains, leader = self._mains, self.leader
        kill(mains)
        kill(leader)
        self._wait("lose power", lambda: not is_alive(mains) and not is_alive(leader))

    def close(self) -> None:
        """Shut it down and take everything away."""
        if is_alive(mains := self._mains):
            os.kill(mains, signal.SIGTERM)
            self._wait("end", lambda: not is_alive(mains))
        for path in (self.root, self.root.parent, self.shared_memory):
            if path.is_mount():
                subprocess.run(["umount", "-l", path], check=False)
        cgroups.remove(self.unique_name)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _mains(self) -> int:
        try:
            return int((self.folder / MAINS_NAME).read_text())
        except OSError:
            return 0

    def _mount(self, plan: Plan) -> None:
        disk = self.root.parent
        for path in (disk, self.shared_memory):
            path.mkdir()
            if path != disk or plan.in_memory:
                subprocess.run(
                    ["mount", "-t", "tmpfs", "-o", "mode=1777", "tutti", path], check=True
                )
        upper, work = disk / "upper", disk / "work"
        for path in (upper, work, self.root):
            path.mkdir()
        layers = f"lowerdir={plan.lower},upperdir={upper},workdir={work}"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, self.root], check=True)
        (self.root / "etc/machine-id").write_text("")
        for unit in _MASKED:
            link = self.root / "etc/systemd/system" / unit
            link.unlink(missing_ok=True)
            link.symlink_to("/dev/null")

    def _wait(self, what: str, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _WAIT_S
        while time.monotonic() < deadline:
            if condition():
                return
            time.sleep(0.1)
        console = (self.folder / "console.log").read_text(errors="replace")
        raise RuntimeError(f"{self.folder.name} does not {what}:\n{console[-3000:]}")
