"""A real RTSP server in a process of its own; see rtsp_server.py for what its cameras do."""

import os
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Self

SYSTEM_PYTHON = "/usr/bin/python3"
SCRIPT = Path(__file__).with_name("rtsp_server.py")
INSTALL = (
    "apt-get install gir1.2-gst-rtsp-server-1.0 python3-gi python3-numpy"
    " gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly"
)
PROBE = """
import gi, numpy
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gst, GstRtspServer
Gst.init(None)
assert all(map(Gst.ElementFactory.find, ("x264enc", "rtph264pay", "rtpbin", "appsrc")))
"""


def is_available() -> bool:
    """Whether this machine has GStreamer's RTSP server."""
    try:
        probe = subprocess.run([SYSTEM_PYTHON, "-c", PROBE], capture_output=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return probe.returncode == 0


def free_port() -> int:
    """A TCP port that nobody uses at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RtspServer:
    """Serves cameras until the context ends; each is described as in rtsp_server.py."""

    def __init__(self, *cameras: str, port: int | None = None) -> None:
        self.port = port or free_port()
        self._cameras = cameras
        self.urls: Sequence[str] = ()
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        process = subprocess.Popen(
            [SYSTEM_PYTHON, str(SCRIPT), str(self.port), *self._cameras],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._process = process
        self.urls = [process.stdout.readline().strip() for _ in self._cameras]
        if not all(url.startswith("rtsp://") for url in self.urls):
            self.kill()
            raise RuntimeError(f"the RTSP server did not start: {self.urls}")
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def jump(self, camera: str, seconds: float) -> None:
        """Let the clock that a camera's reports tell be so far ahead of UTC."""
        self._process.stdin.write(f"jump {camera} {seconds}\n")
        self._process.stdin.flush()
        self._process.stdout.readline()

    def freeze(self) -> None:
        """Let the server hang, its connections open."""
        os.kill(self._process.pid, signal.SIGSTOP)

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()
        self._process = None
