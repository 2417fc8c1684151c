"""Runs inside the Debian sid root: one session of two virtual cameras, through the real commands.

Two cameras on one node, opened by real picamera2 on real libcamera, recorded by `edge-agent` and
`manager`. Prints one JSON object: what the deep audit found, and which slots are missing.
"""

import argparse
import json
import random
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from capture_protocol import SessionFolder

BIN = Path(sys.executable).parent
READY_S = 90.0
SEALED_S = 120.0
POLL_S = 0.2
END_S = 30.0
CAMERAS = 2
STALL_SLOTS = 30

# The virtual sensor is a thread of a machine that may be busy: it wakes late by up to 4 ms, and
# frames during which the machine stands still are not made at all, whatever is queued.
RIG = """
name = "virtual"
id = "{id}"

[server]
control_port = {port}
stream_port = {stream_port}
reserve_mb = 64

[network]
port = {datagram_port}
interface = "127.0.0.1"

[session]
rate = "{rate}"
gop = 30
segment_gops = 2

[audit]
grid_error_p99_us = 5000.0
skew_p99_us = 5000.0
max_missing = {missing}
max_late = 0

[[node]]
name = "node0"
clock = "shared"
"""
CAMERA = """
[[node.camera]]
name = "cam{index}"
backend = "picamera"
device = "Virtual{index}"
# At 15 fps the encoder may be 0.8 s behind: here others use the CPU, too.
options = {{ buffers = 16 }}
"""


class Rig:
    """A rig in a folder, through its commands."""

    def __init__(self, folder: Path, rate: str) -> None:
        self.folder = folder
        self.problems: set[str] = set()
        port = random.randrange(20_000, 32_000, 10)
        head = RIG.format(
            id=secrets.token_hex(16),
            port=port,
            datagram_port=port + 1,
            stream_port=port + 2,
            rate=rate,
            missing=STALL_SLOTS,
        )
        cameras = "".join(CAMERA.format(index=index) for index in range(CAMERAS))
        (folder / "rig.toml").write_text(head + cameras)
        self._run("init", "--dir", str(folder))
        self.node = folder / "nodes" / "node0"

    def ask(self, *arguments: str) -> Any:
        """Run a `manager` command on this rig; its JSON."""
        return self._run(*arguments, "--rig", str(self.folder))

    def _run(self, *arguments: str) -> Any:
        command = [str(BIN / "manager"), *arguments, "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode > 1:  # 1: the audit fails, which its JSON explains
            self.give_up(f"manager {arguments}: {done.stdout}{done.stderr}")
        return json.loads(done.stdout)

    @contextmanager
    def agent(self) -> Iterator[None]:
        """Run the node's agent, and the manager's process that commands start."""
        with (self.node / "agent.log").open("wb") as log:
            agent = [str(BIN / "edge-agent"), "run", "--config", str(self.node / "node.toml")]
            command = ["nice", "-n", "-15", *agent]  # a node has its machine to itself
            running = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            try:
                yield
            finally:
                running.terminate()
                running.wait(END_S)
                self.ask("shutdown")

    def wait_for(self, what: str, wait_s: float, key: str, done: Any) -> float:
        """Wait until ``done`` holds for a part of the status; how long that took (s)."""
        begun = time.monotonic()
        while time.monotonic() - begun < wait_s:
            status = self.ask("status")
            self.problems |= {camera["problem"] for camera in status["cameras"]} - {""}
            part = status[key]
            if done(part):
                return time.monotonic() - begun
            time.sleep(POLL_S)
        self.give_up(f"not {what} within {wait_s:.0f} s: {part}")
        return wait_s

    def give_up(self, why: str) -> None:
        """End with the reason and what the agent said."""
        log = self.folder / "nodes" / "node0" / "agent.log"
        sys.exit(f"{why}\nagent.log:\n{log.read_text()[-4000:] if log.exists() else ''}")


def record(rig: Rig, frames: int) -> dict[str, Any]:
    """One session from lock to audit."""
    with rig.agent():
        lock_s = rig.wait_for(
            "in lock",
            READY_S,
            "cameras",
            lambda cameras: all(camera["lock"] == "locked" for camera in cameras),
        )
        session = rig.ask("start", "--frames", str(frames))
        rig.wait_for(
            "sealed",
            SEALED_S,
            "session",
            lambda now: now["phase"] in ("complete", "incomplete"),
        )
        audit = rig.ask("audit", str(session["session"]), "--deep")
    manifest = SessionFolder(Path(session["folder"])).read_manifest()
    missing = {camera.name: camera.missing for camera in manifest.cameras} if manifest else {}
    problems = sorted(rig.problems)
    return {"lock_s": lock_s, "audit": audit, "missing": missing, "problems": problems}


def main() -> None:
    """Record, audit, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--rate", default="15")
    parser.add_argument("--folder", type=Path, help="an empty folder, to keep the recording")
    wish = parser.parse_args()
    if wish.folder:
        print(json.dumps(record(Rig(wish.folder, wish.rate), wish.frames)))
        return
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(record(Rig(Path(folder), wish.rate), wish.frames)))


if __name__ == "__main__":
    main()
