"""Which cameras this machine could drive."""

from dataclasses import dataclass
from pathlib import Path

from capture_protocol.errors import TuttiError
from edge_agent.picamera import list_cameras
from edge_agent.sensor import MODES

_SYS_VIDEO = Path("/sys/class/video4linux")


@dataclass(frozen=True, slots=True)
class FoundCamera:
    """Something that a camera section of rig.toml can name."""

    backend: str
    device: str
    """For `device`; for a simulated camera, a value of its option `mode`."""
    description: str


def find_cameras(sys_video: Path = _SYS_VIDEO) -> list[FoundCamera]:
    """Cameras of this machine, and the sensors that can be simulated."""
    return [*_picameras(), *_v4l2_cameras(sys_video), *_simulated_cameras()]


def _picameras() -> list[FoundCamera]:
    try:
        found = list_cameras()
    except TuttiError:
        return []
    return [
        FoundCamera("picamera", str(number), f"{model} ({where})") for number, model, where in found
    ]


def _v4l2_cameras(sys_video: Path) -> list[FoundCamera]:
    """Capture devices by their names in sysfs; index 0 is the one that gives pictures."""
    found = []
    for entry in sorted(sys_video.glob("video*")):
        index = _read(entry / "index")
        if index == "0":
            found.append(FoundCamera("v4l2", f"/dev/{entry.name}", _read(entry / "name")))
    return found


def _simulated_cameras() -> list[FoundCamera]:
    return [
        FoundCamera(
            "simulated",
            mode.name,
            f"{mode.width}x{mode.rows}, up to {mode.top_rate_hz:.1f} fps, "
            + (
                "global shutter"
                if mode.global_shutter
                else f"{mode.line_time_ns / 1000:.1f} µs/line"
            ),
        )
        for mode in MODES.values()
    ]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
