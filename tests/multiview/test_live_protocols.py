"""Live streams that are not RTSP: FFmpeg sends, frames are stamped by their arrival."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import imageio_ffmpeg
import numpy as np
import pytest

from multiview.live import StreamSynchronizer, Timing
from tests.support.rtsp import free_port

FORMATS = {
    "rtmp": ("flv", "rtmp://127.0.0.1:{}/live/cam"),
    "http": ("mpegts", "http://127.0.0.1:{}/cam"),
}
FPS = 25


@contextmanager
def sender(protocol: str) -> Iterator[str]:
    """FFmpeg waits for one client and sends a test picture in real time."""
    container, address = FORMATS[protocol]
    url = address.format(free_port())
    picture = f"testsrc=size=160x120:rate={FPS}"
    coding = ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "25"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-re", "-f", "lavfi"]
    command += ["-i", picture, *coding, "-pix_fmt", "yuv420p", "-f", container, "-listen", "1", url]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        yield url
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("protocol", FORMATS)
def test_other_live_streams_are_timed_by_arrival(protocol: str) -> None:
    with sender(protocol) as url, StreamSynchronizer([{"source": url}], 1.0, 50, -1) as streams:
        okay = (packet[0] for packet in streams if packet.okay)
        frames = [next(okay) for _ in range(40)]
    assert {data["timing"] for data in frames} == {Timing.ARRIVAL}
    assert {data["error_bound_ns"] for data in frames} == {None}
    assert frames[0]["frame"].shape == (120, 160, 3)
    steps = np.diff([data["time_ns"] for data in frames]) / 1e9
    assert np.median(steps) == pytest.approx(1 / FPS, abs=1e-3)
