"""Real picamera2 on real libcamera virtual cameras, in a Debian sid root: `make test-picamera2`.

What the root is and how it is made: deploy/sid-root. The cameras are libcamera's own virtual
pipeline, paced like a free-running sensor (edge_agent/picamera/virtual.py says why).
"""

import json
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from capture_protocol.frame import FrameFlag

pytestmark = [pytest.mark.root, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]
SID = ROOT / "deploy" / "sid-root"
MIRROR = os.environ.get("TUTTI_MIRROR", "http://deb.debian.org/debian")
RUN_S = 240
FRAMES = 300
SUMMARY = ("delivered", "missing", "locks", "grid_error", "release_error")


def sid_root() -> Path:
    return Path(os.environ.get("TUTTI_SID_ROOT", "/var/cache/tutti/sid-root"))


def lacking() -> str:
    """Why this cannot run here; empty if it can."""
    if os.environ.get("TUTTI_TEST_PICAMERA2") != "1":
        return "run by `make test-picamera2` (it may build a Debian root of 1.7 GB)"
    if os.geteuid() != 0:
        return "needs root for chroot and mounts: sudo make test-picamera2"
    if (sid_root() / ".tutti-ready").exists():
        return ""
    if shutil.which("debootstrap") is None:
        return "debootstrap is missing: apt-get install debootstrap"
    try:
        urllib.request.urlopen(f"{MIRROR}/dists/sid/InRelease", timeout=20).close()
    except (urllib.error.URLError, OSError) as error:
        return f"no root at {sid_root()}, and no network to build one: {MIRROR}: {error}"
    return ""


Inside = Callable[..., Any]


@pytest.fixture(scope="module")
def inside() -> Inside:
    """Runs a script of this folder in the root, with the project as it is now; its JSON."""
    if reason := lacking():
        pytest.skip(reason)
    root = sid_root()
    subprocess.run([SID / "build.sh", root], check=True)
    subprocess.run([SID / "enter.sh", root, "/opt/tutti/deploy/sid-root/install.sh"], check=True)

    def run(script: str, *arguments: str) -> Any:
        command = ["/opt/venv/bin/python", f"/opt/tutti/tests/system/{script}", *arguments]
        done = subprocess.run(
            [SID / "enter.sh", root, *command],
            capture_output=True,
            text=True,
            timeout=RUN_S,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
        return json.loads(done.stdout.splitlines()[-1])

    return run


def show(title: str, values: Any) -> None:
    print(f"\n{title}: {json.dumps(values, indent=1)}")


def test_backend_by_itself(inside: Inside) -> None:
    result = inside("picamera2_backend.py", "--slots", str(FRAMES))
    show("backend on libcamera's virtual cameras", result)
    assert [ident for _, _, ident in result["found"]] == ["Virtual1", "Virtual0"]
    assert [camera["opened"] for camera in result["cameras"]] == ["Virtual0", "Virtual1"]
    for camera in result["cameras"]:
        assert camera["frames"] > 0.9 * FRAMES
        assert camera["queued_before_release"] == 0
        assert camera["stamp_clock"] == "CLOCK_MONOTONIC"
        assert camera["slots_ascend"]
        assert camera["sequences_ascend"]
        assert camera["first_lock_frame"] is not None
        assert camera["locked_share"] > 0.5
        assert camera["grid_error_us"]["p50"] < 1000
        assert camera["flags"] == FrameFlag.SIMULATED
        assert camera["bytes_in_notify_pipe"] < 5  # frames that came since the last look
        assert all(0 < luma < 255 for luma in camera["mean_luma"])
    for camera in result["at_20_fps"]:
        assert camera["queued_before_release"] == 0
        assert camera["frames"] > 45


def test_a_session_end_to_end(inside: Inside) -> None:
    result = inside("picamera2_session.py", "--frames", str(FRAMES), "--rate", "15")
    audit = result["audit"]
    print(audit["sentence"])
    show("two cameras, locked after (s)", round(result["lock_s"], 1))
    show("missing slots", result["missing"])
    show("deep audit", {check["title"]: check["sentence"] for check in audit["checks"]})
    assert audit["deep"]
    assert audit["verdict"] == "pass", audit["sentence"]
    assert {check["name"] for check in audit["checks"] if check["verdict"] == "skipped"} <= {
        "optical_clock"  # libcamera's test pattern shows no clock
    }
    assert len(audit["cameras"]) == 2
    for camera in audit["cameras"]:
        assert camera["delivered"] + sum(camera["missing"].values()) == FRAMES
        assert camera["missing"]["unknown"] == 0
        assert camera["delivered"] > 0.9 * FRAMES
        assert camera["locks"].get("locked", 0) > 0.5 * FRAMES
        show(f"{camera['name']}: delivered, missing, locks", [camera[k] for k in SUMMARY])
