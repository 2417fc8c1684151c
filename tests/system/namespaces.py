"""Namespaces of our own: hosts on one Ethernet segment, gone with the process that holds them."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploy.fleet.processes import children, kill

_WAIT_S = 10.0


class Host:
    """A machine of its own as far as network, processes and /run are concerned.

    Its first process holds everything: when it is killed, the kernel ends whatever runs inside
    and takes the network down. It dies with its parent, too.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        isolate = ["--net", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc"]
        self._holder = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "unshare", *isolate, "sleep", "infinity"]
        )
        self.pid = self._first_process()
        self.run("mount", "-t", "tmpfs", "tmpfs", "/run")
        self.run("ip", "link", "set", "lo", "up")

    def _first_process(self) -> int:
        deadline = time.monotonic() + _WAIT_S
        while time.monotonic() < deadline:
            for pid in children(self._holder.pid):
                if Path(f"/proc/{pid}/comm").read_text().strip() == "sleep":
                    return pid
            time.sleep(0.01)
        self._holder.kill()
        raise RuntimeError("unshare gives no namespaces: is this root?")

    def inside(self, *command: str) -> list[str]:
        """The command line that runs a command in this host."""
        return ["nsenter", "-t", str(self.pid), "--net", "--pid", "--mount", *command]

    def run(self, *command: str, env: Mapping[str, str] | None = None) -> str:
        """Run a command that must succeed; what it prints."""
        done = subprocess.run(
            self.inside(*command),
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **(env or {})},
        )
        assert done.returncode == 0, f"{self.name}: {command}: {done.stdout}{done.stderr}"
        return done.stdout

    def start(
        self, *command: str, log: Path, env: Mapping[str, str] | None = None
    ) -> "subprocess.Popen[bytes]":
        """Start a command; its output goes to a file."""
        with log.open("ab") as output:
            return subprocess.Popen(
                self.inside(*command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **(env or {})},
            )

    def close(self) -> None:
        """End the host, and with it every process in it."""
        for pid in (self.pid, self._holder.pid):
            kill(pid)
        self._holder.wait()
        deadline = time.monotonic() + _WAIT_S
        while Path(f"/proc/{self.pid}").exists() and time.monotonic() < deadline:
            time.sleep(0.01)


class Segment:
    """Hosts on one switch, 10.77.0.1 upwards in the order of their names."""

    def __init__(self, *names: str) -> None:
        self.hosts: dict[str, Host] = {}
        self.switch = Host("switch")
        try:
            self.switch.run("ip", "link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
            self.switch.run("ip", "link", "set", "br0", "up")
            for number, name in enumerate(names, start=1):
                self.hosts[name] = Host(name)
                self._plug_in(self.hosts[name], number)
        except BaseException:
            self.close()
            raise

    def _plug_in(self, host: Host, number: int) -> None:
        port = f"port{number}"
        peer = ["peer", "name", "eth0", "netns", str(host.pid)]
        # From outside the switch's process namespace, in which the host's process has no number.
        create = ["ip", "link", "add", port, "type", "veth", *peer]
        subprocess.run(["nsenter", "-t", str(self.switch.pid), "--net", *create], check=True)
        self.switch.run("ip", "link", "set", port, "master", "br0", "up")
        host.run("ip", "address", "add", f"{self.address(number)}/24", "dev", "eth0")
        host.run("ip", "link", "set", "eth0", "up")
        host.run("ip", "route", "add", "224.0.0.0/4", "dev", "eth0")

    @staticmethod
    def address(number: int) -> str:
        return f"10.77.0.{number}"

    def close(self) -> None:
        """End all hosts."""
        for host in (*self.hosts.values(), self.switch):
            host.close()

    def __enter__(self) -> "Segment":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def end_inside(process: "subprocess.Popen[bytes]", wait_s: float = _WAIT_S) -> None:
    """End a command that `Host.start` began: nsenter's child gets SIGTERM, then both SIGKILL."""
    for pid in children(process.pid):
        os.kill(pid, signal.SIGTERM)
    try:
        process.wait(wait_s)
    except subprocess.TimeoutExpired:
        for pid in (*children(process.pid), process.pid):
            kill(pid)
        process.wait()
