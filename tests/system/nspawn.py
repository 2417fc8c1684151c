"""Real systemd in a container: a throw-away overlay of this machine's root, booted by nspawn."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.system.namespaces import children, kill

_WAIT_S = 60.0
_MASKED = (
    "systemd-timesyncd.service",
    "getty.target",
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
)
_HIERARCHIES = ("unified", "systemd")
"""cgroup hierarchies in which nspawn needs a group of its own (hybrid layout)."""


class Container:
    """A booted systemd while the context lasts; nothing is written back to this machine."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = f"{name}-{os.getpid()}"
        self._tmpfs = folder / "container"
        self.root = self._tmpfs / "root"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Container":
        try:
            self._mount()
            self._boot()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def run(self, *command: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run a command in the container."""
        spaces = ["-m", "-u", "-i", "-n", "-p", "-C"]
        done = subprocess.run(
            ["nsenter", "-t", str(self.leader), *spaces, *command],
            capture_output=True,
            text=True,
            check=False,
            timeout=2 * _WAIT_S,
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done

    def close(self) -> None:
        """Power it off and take everything away."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                for pid in (*children(self._process.pid), self._process.pid):
                    kill(pid)
                self._process.wait()
        for path in (self.root, self._tmpfs):
            if path.is_mount():
                subprocess.run(["umount", "-l", path], check=False)
        for group in self._groups():
            for folder, _, _ in os.walk(group, topdown=False):
                Path(folder).rmdir()

    def _mount(self) -> None:
        self._tmpfs.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "tutti-test", self._tmpfs], check=True)
        upper, work = self._tmpfs / "upper", self._tmpfs / "work"
        for path in (upper, work, self.root):
            path.mkdir()
        layers = f"lowerdir=/,upperdir={upper},workdir={work}"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, self.root], check=True)
        (self.root / "etc/machine-id").write_text("")
        for unit in _MASKED:
            link = self.root / "etc/systemd/system" / unit
            link.unlink(missing_ok=True)
            link.symlink_to("/dev/null")

    def _groups(self) -> list[Path]:
        paths = [Path("/sys/fs/cgroup") / kind / f"tutti-{self.name}" for kind in _HIERARCHIES]
        return [path for path in paths if path.parent.is_dir() and path.is_dir()]

    def _boot(self) -> None:
        for kind in _HIERARCHIES:
            if (hierarchy := Path("/sys/fs/cgroup") / kind).is_dir():
                (hierarchy / f"tutti-{self.name}").mkdir()
        joins = [str(group / "cgroup.procs") for group in self._groups()]
        enter = 'while [ "$1" != -- ]; do echo $$ > "$1"; shift; done; shift; exec "$@"'
        options = ["--register=no", "--keep-unit", "--private-network", "--console=pipe"]
        command = ["systemd-nspawn", "-q", "-D", str(self.root), "-M", self.name, "-b", *options]
        with (self._tmpfs / "console.log").open("wb") as log:
            self._process = subprocess.Popen(
                ["sh", "-c", enter, "sh", *joins, "--", *command, "--kill-signal=SIGRTMIN+3"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.leader = self._wait_booted(self._process)

    def _wait_booted(self, process: "subprocess.Popen[bytes]") -> int:
        deadline = time.monotonic() + _WAIT_S
        while time.monotonic() < deadline and process.poll() is None:
            for leader in children(process.pid):
                if Path(f"/proc/{leader}/comm").read_text().strip() == "systemd":
                    self.leader = leader
                    state = self.run("systemctl", "is-system-running", check=False).stdout.strip()
                    if state in ("running", "degraded"):
                        return leader
            time.sleep(0.1)
        console = (self._tmpfs / "console.log").read_text(errors="replace")
        raise RuntimeError(f"the container does not boot:\n{console[-3000:]}")


def lacking() -> str:
    """Why no container can be booted here; empty if one can."""
    if os.geteuid() != 0:
        return "needs root for a systemd container: sudo make test-systemd"
    if shutil.which("systemd-nspawn") is None:
        return "sudo apt-get install -y systemd-container"
    return ""
