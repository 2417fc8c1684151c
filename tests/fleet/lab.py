"""A lab in a box: bare machines, what a site needs without internet, and who runs it all."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from capture_protocol import SessionFolder
from control_server.audit import AuditResult
from deploy.archive.cli import build_site
from deploy.archive.targets import Targets
from deploy.fleet import SERVER, Fleet, make_rig

PROJECT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
FLEETS = Path("/var/lib/tutti-fleet")
SITE = Path("/var/cache/tutti/test-site")
"""What was fetched for the archive stays there from run to run."""
TARGETS = Targets(("x86_64",), ("3.11",), ("bookworm",))
KEPT = os.environ.get("TUTTI_KEEP_FLEET") == "1"
"""The fleet is left for the next run, which takes it as it is: for work on the tests."""
WAIT_S = 90.0
LIVE_SLOTS = 60
"""A camera is live again when what it has sent is less than this behind the grid."""
_RECAP = re.compile(r"^(\S+)\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.M)


@dataclass(frozen=True)
class Run:
    """What one run of a playbook did."""

    seconds: float
    returncode: int
    text: str

    @property
    def counts(self) -> dict[str, tuple[int, int, int]]:
        """(ok, changed, unreachable or failed) by host."""
        return {
            host: (int(ok), int(changed), int(lost) + int(failed))
            for host, ok, changed, lost, failed in _RECAP.findall(self.text)
        }

    @property
    def changed(self) -> int:
        """Changes on all hosts."""
        return sum(changed for _, changed, _ in self.counts.values())


class Lab:
    """Runs a fleet while the context lasts; `playbook` makes it a rig."""

    def __init__(self, name: str, nodes: int, beside: "Lab | None" = None, domain: int = 0) -> None:
        self.folder = FLEETS / name
        self.seconds: dict[str, float] = {}
        self._nodes, self._beside, self._domain = nodes, beside, domain

    def __enter__(self) -> "Lab":
        with ExitStack() as undo:
            if not KEPT:
                undo.callback(self._clear)
                self._clear()
            self.site = self._timed("site archive", self._site)
            self.fleet = self._timed("bare machines", self._boot)
            self.place = make_rig(self.fleet, self.folder / "rig", self._domain)
            undo.pop_all()
        return self

    def __exit__(self, *_: Any) -> None:
        if not KEPT:
            self._clear()

    def _clear(self) -> None:
        """Whatever a run left that was ended in the middle is taken down, too."""
        if (self.folder / "fleet.json").exists():
            Fleet(self.folder).down()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _site(self) -> Path:
        if self._beside:
            return self._beside.site
        if KEPT and (SITE / "site").exists():
            return SITE / "site"
        return build_site(SITE, TARGETS)

    def _boot(self) -> Fleet:
        if KEPT and (self.folder / "fleet.json").exists():
            return Fleet(self.folder)
        neighbour = self._beside.fleet if self._beside else None
        fleet = Fleet.create(self.folder, self._nodes, neighbour)
        fleet.power_on()
        return fleet

    def _timed(self, what: str, work: Callable[[], Any]) -> Any:
        begun = time.monotonic()
        result = work()
        self.seconds[what] = time.monotonic() - begun
        return result

    def set_up(self) -> Run:
        """Run site.yml, unless the fleet was kept by a run that has done so."""
        path = self.folder / "first_run.json"
        if path.exists():
            return Run(**json.loads(path.read_text()))
        run = self.playbook("site.yml")
        if run.returncode == 0:
            path.write_text(json.dumps(asdict(run)))
        return run

    def playbook(self, name: str, *arguments: str) -> Run:
        """Run a playbook as the controller does, against the whole rig."""
        environment = {
            **os.environ,
            "TUTTI_RIG": str(self.place.path),
            "TUTTI_MANAGER": str(BIN / "manager"),
            "ANSIBLE_CONFIG": str(PROJECT / "ansible/ansible.cfg"),
            "ANSIBLE_SSH_EXTRA_ARGS": f"-F {self.folder}/ssh_config",
            "ANSIBLE_NOCOLOR": "1",
        }
        book = [str(BIN / "ansible-playbook"), str(PROJECT / "ansible" / name)]
        archive = ["--extra-vars", f"tutti_archive={self.site}"]
        begun = time.monotonic()
        done = subprocess.run(
            [*book, *archive, *arguments],
            cwd=PROJECT / "ansible",
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return Run(time.monotonic() - begun, done.returncode, done.stdout + done.stderr)

    def ssh(self, name: str, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run a command on a machine as the user that the first boot made."""
        return subprocess.run(
            self.fleet.ssh_command(name, *words), capture_output=True, text=True, check=False
        )

    def manager(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run `manager` on the server, as an operator does."""
        return self.ssh(SERVER, "manager", *arguments, "--rig", "/etc/tutti/rig.toml", "--json")

    def ask(self, *arguments: str) -> Any:
        """Run a `manager` command that must succeed; its JSON."""
        done = self.manager(*arguments)
        assert done.returncode == 0, f"manager {arguments}: {done.stdout}{done.stderr}"
        return json.loads(done.stdout)

    def wait_ready(self) -> float:
        """Until the preflight is green and all cameras are in lock; how long it took (s)."""
        begun = time.monotonic()
        self.wait("the rig is ready", self._is_ready)
        return time.monotonic() - begun

    def _is_ready(self) -> bool:
        done = self.manager("preflight")
        if done.returncode != 0:
            return False
        cameras = json.loads(self.manager("status").stdout)["cameras"]
        return all(camera["lock"] == "locked" for camera in cameras)

    def start(self, seconds: int) -> SessionFolder:
        """Begin a session; its folder, seen from outside."""
        return self._folder(self.ask("start", "--frames", self._frames(seconds)))

    def start_without(self, seconds: int, camera: str) -> SessionFolder:
        """Begin a session that a camera misses: the command names it, the others record."""
        done = self.manager("start", "--frames", self._frames(seconds), "--force")
        assert done.returncode == 3, done.stdout + done.stderr
        assert camera in done.stderr
        return self._folder(self.ask("status")["session"])

    def _frames(self, seconds: int) -> str:
        return str(seconds * int(self.place.config.session.frame_rate))

    def _folder(self, told: dict[str, Any]) -> SessionFolder:
        return SessionFolder(self.fleet.machine(SERVER).root / str(told["folder"]).lstrip("/"))

    def wait_for_slot(self, folder: SessionFolder, slot: int) -> None:
        """Until the session's grid has reached a slot; the kernel's clock is the grid's."""
        instant_ns = folder.read_plan().grid.time_ns(slot)
        self.wait(f"slot {slot}", lambda: time.time_ns() >= instant_ns)

    def wait_live(self, *cameras: str) -> float:
        """Until what these cameras send is at the grid again; how long it took (s)."""
        begun = time.monotonic()
        self.wait(f"{', '.join(cameras)} live", lambda: self._is_live(cameras))
        return time.monotonic() - begun

    def _is_live(self, cameras: tuple[str, ...]) -> bool:
        done = self.manager("status")
        if done.returncode != 0:
            return False
        status = json.loads(done.stdout)
        slot = status["session"]["slot_now"] if status["session"] else 0
        told = [camera for camera in status["cameras"] if camera["camera"] in cameras]
        return all(c["connected"] and slot - c["sent"] < LIVE_SLOTS for c in told)

    def wait_sealed(self, folder: SessionFolder) -> None:
        """Until the session's manifest is there."""
        self.wait("the session is sealed", lambda: folder.read_manifest() is not None)

    def audit(self, folder: SessionFolder, *, deep: bool = False) -> AuditResult:
        """What `manager audit` says on the server."""
        done = self.manager("audit", str(int(folder.path.name)), *(["--deep"] if deep else []))
        assert done.returncode in (0, 1, 2), done.stdout + done.stderr
        return AuditResult.model_validate_json(done.stdout)

    def wait(self, what: str, condition: Callable[[], Any], wait_s: float = WAIT_S) -> None:
        """Poll a condition.

        Raises:
            AssertionError: it does not hold in time; the message has the state of the rig.
        """
        deadline = time.monotonic() + wait_s
        while time.monotonic() < deadline:
            if condition():
                return
            time.sleep(0.2)
        state = self.manager("preflight").stdout + self.manager("status").stdout
        raise AssertionError(f"waited {wait_s:.0f} s in vain: {what}\n{state}")
