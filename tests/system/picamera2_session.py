"""Runs inside the Debian sid root: one session of two virtual cameras, through the real commands.

Prints one JSON object: what the deep audit found. Two cameras on one node, opened by real
picamera2 on real libcamera, recorded by `edge-agent` and `manager`.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from capture_protocol.publish import publish_text
from capture_protocol.rig import AuditSection, CameraConfig, NodeEntry, RigConfig
from control_server.local_rig import LocalRig, LocalWish, local_config
from control_server.place import RIG_NAME
from control_server.rig_setup import config_text

MANAGER = str(Path(sys.executable).parent / "manager")
READY_S = 60.0
SEALED_S = 90.0
STALL_SLOTS = 30
LIMITS = AuditSection(
    grid_error_p99_us=5_000.0, skew_p99_us=5_000.0, max_missing=STALL_SLOTS, max_late=0
)
"""The virtual sensor is a thread of a machine that may be busy: it wakes late by up to 4 ms, and
frames during which the machine stands still are not made at all, whatever is queued."""


class VirtualRig(LocalRig):
    """A local rig of one node whose cameras are libcamera's virtual ones."""

    def __init__(self, folder: Path, rate: str, cameras: int) -> None:
        wish = LocalWish(nodes=1, cameras_per_node=cameras, rate=rate, audit=LIMITS)
        super().__init__(folder, wish)
        self.rewrite(local_config(wish), cameras)

    def rewrite(self, config: RigConfig, cameras: int) -> None:
        """Set the picamera backend, and write keys and node.toml as `manager init` does."""
        node = NodeEntry(name="node0", clock="shared", camera=[_camera(i) for i in range(cameras)])
        publish_text(self.place.path, config_text(config.model_copy(update={"node": [node]})))
        self.ask("init", "--dir", str(self.place.folder), rig=False)

    def ask(self, *arguments: str, rig: bool = True) -> Any:
        """Run a `manager` command that must succeed; its JSON."""
        place = ["--rig", str(self.place.folder / RIG_NAME)] if rig else []
        done = subprocess.run(
            [MANAGER, *arguments, *place, "--json"], capture_output=True, text=True, check=False
        )
        if done.returncode > 1:  # 1: the audit fails, which its JSON explains
            log = (self.place.nodes / "node0" / "agent.log").read_text()
            sys.exit(f"manager {arguments}: {done.stdout}{done.stderr}\nagent.log:\n{log[-4000:]}")
        return json.loads(done.stdout)

    def wait_locked(self) -> float:
        """Wait until all cameras are in lock; how long that took (s)."""
        begun = time.monotonic()
        while time.monotonic() - begun < READY_S:
            cameras = self.ask("status")["cameras"]
            if all(camera["lock"] == "locked" for camera in cameras):
                return time.monotonic() - begun
            time.sleep(0.2)
        log = (self.place.nodes / "node0" / "agent.log").read_text()
        sys.exit(f"no lock within {READY_S:.0f} s: {cameras}\nagent.log:\n{log[-4000:]}")

    def wait_sealed(self) -> None:
        """Wait until the session is over and its manifest is written."""
        begun = time.monotonic()
        while time.monotonic() - begun < SEALED_S:
            session = self.ask("status")["session"]
            if session["phase"] in ("complete", "incomplete"):
                return
            time.sleep(0.2)
        sys.exit(f"not sealed within {SEALED_S:.0f} s: {session}")


def _camera(index: int) -> CameraConfig:
    return CameraConfig(
        name=f"cam{index}",
        backend="picamera",
        device=f"Virtual{index}",
        options={"buffers": 24},  # at 15 fps the encoder may be 0.8 s behind: others use the CPU
    )


def main() -> None:
    """Record, audit, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--rate", default="30")
    parser.add_argument("--cameras", type=int, default=2)
    wish = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        VirtualRig(Path(folder), wish.rate, wish.cameras) as rig,
    ):
        lock_s = rig.wait_locked()
        session = rig.ask("start", "--frames", str(wish.frames))
        rig.wait_sealed()
        audit = rig.ask("audit", str(session["session"]), "--deep")
        log = (rig.place.nodes / "node0" / "agent.log").read_text()
    print(json.dumps({"lock_s": lock_s, "session": session, "audit": audit, "log": log}))


if __name__ == "__main__":
    main()
