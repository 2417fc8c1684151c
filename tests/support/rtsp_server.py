"""A real RTSP server (GStreamer's) whose pictures show when they were taken.

Run with the system's Python, which has GStreamer's bindings::

    /usr/bin/python3 rtsp_server.py PORT NAME:FPS[:OPTION,...] ...

Options: ``b`` (two B-frames), ``mute`` (no sender reports), ``drift=PPM`` (the camera's clock,
which pictures and reports tell, against the pipeline's),
``phase=MS`` (of the exposures to whole periods of UTC), ``period=S`` (shortest time between
reports), ``loss=PERCENT`` (of encoded frames). Prints one URL per camera, then obeys lines on
standard input: ``jump NAME SECONDS`` steps the clock that the camera's reports tell.
Cameras expose at whole multiples of their period since 1970, plus the phase.
"""

import struct
import sys
import threading
import time
import types
from pathlib import Path
from typing import Any

import gi
import numpy as np

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

REPO = Path(__file__).parents[2]
package = types.ModuleType("capture_protocol")  # without its __init__, which needs more packages
package.__path__ = [str(REPO / "capture_protocol")]
sys.modules["capture_protocol"] = package
sys.path.insert(0, str(REPO))
from capture_protocol import optical_clock  # noqa: E402

WIDTH, HEIGHT = 320, 240
NS_PER_S = 1_000_000_000
SENDER_REPORT = 200  # RTCP packet type, RFC 3550 section 6.4.1
READING_NS = 50_000  # a reading of two clocks that took longer is no truth to test against
NTP_TIME = struct.Struct(">Q")
NTP_AT = 8  # bytes into a sender report


class Camera:
    """What one camera sends, and what its clock claims."""

    def __init__(self, spec: str) -> None:
        self.name, fps, *options = spec.split(":")
        self.fps = int(fps)
        words = dict(word.partition("=")[::2] for word in ",".join(options).split(",") if word)
        self.b_frames = 2 if "b" in words else 0
        self.mute = "mute" in words
        self.drift = float(words.get("drift", 0)) * 1e-6
        self.phase_ns = round(float(words.get("phase", 0)) * 1e6)
        self.report_ns = round(float(words.get("period", 1)) * NS_PER_S)
        self.loss = float(words.get("loss", 0)) / 100
        self.jump_ns = 0
        self.started_ns = time.time_ns()

    def launch(self) -> str:
        """The pipeline in GStreamer's language."""
        coding = "speed-preset=ultrafast tune=zerolatency"
        if self.b_frames:
            coding = f"speed-preset=superfast bframes={self.b_frames} b-adapt=false"
        profile = "main" if self.b_frames else "constrained-baseline"
        return (
            "( appsrc name=camera is-live=true format=time block=false max-buffers=4"
            f" caps=video/x-raw,format=I420,width={WIDTH},height={HEIGHT},framerate={self.fps}/1"
            f" ! x264enc {coding} threads=1 key-int-max={self.fps} bitrate=1500"
            f" ! video/x-h264,profile={profile} ! identity drop-probability={self.loss}"
            " ! rtph264pay name=pay0 pt=96 config-interval=1 )"
        )

    def drift_ns(self, instant: int) -> int:
        """How far the camera's clock has drifted from UTC."""
        return round(self.drift * (instant - self.started_ns))

    def expose(self, appsrc: Any) -> None:
        """Push pictures on time until the pipeline ends."""
        image = np.full((HEIGHT * 3 // 2, WIDTH), 128, np.uint8)
        while appsrc.get_clock() is None or appsrc.get_base_time() == 0:
            time.sleep(0.001)  # the pipeline is not playing yet
        clock, base = appsrc.get_clock(), appsrc.get_base_time()
        number = (time.time_ns() - self.phase_ns) * self.fps // NS_PER_S + 1
        flow = Gst.FlowReturn.OK
        while flow == Gst.FlowReturn.OK:
            instant = number * NS_PER_S // self.fps + self.phase_ns
            time.sleep(max(0.0, (instant - time.time_ns()) / NS_PER_S))
            running = clock_at(clock, instant) - base
            flow = appsrc.emit("push-buffer", self.picture(image, instant, running))
            number += 1

    def picture(self, image: Any, instant: int, running: int) -> Any:
        """One picture that shows its instant, stamped with the same in the pipeline's time."""
        shown = instant + self.drift_ns(instant)
        optical_clock.draw(image[:HEIGHT], (shown,) * optical_clock.BAND_COUNT)
        buffer = Gst.Buffer.new_wrapped(image.tobytes())
        buffer.pts = max(0, running)
        buffer.duration = NS_PER_S // self.fps
        return buffer

    def configure_reports(self, _: Any, rtpbin: Any) -> None:
        """Let reports tell capture times, and pass by ``watch_reports``."""
        if rtpbin.get_factory().get_name() == "rtpbin":
            rtpbin.set_property("rtcp-sync-send-time", False)
            rtpbin.connect("pad-added", self.probe_reports)

    def probe_reports(self, rtpbin: Any, pad: Any) -> None:
        """See every outgoing RTCP packet."""
        if pad.get_name().startswith("send_rtcp_src"):
            session = rtpbin.emit("get-internal-session", 0)
            session.set_property("rtcp-min-interval", self.report_ns)
            pad.add_probe(Gst.PadProbeType.BUFFER, self.watch_reports)

    def watch_reports(self, pad: Any, info: Any) -> Any:
        """Pass a report on, or with another time, or not at all."""
        report = info.get_buffer()
        data = bytearray(report.extract_dup(0, report.get_size()))
        error = self.jump_ns + self.drift_ns(time.time_ns())
        if data[1] != SENDER_REPORT or not (self.mute or error):
            return Gst.PadProbeReturn.OK
        if self.mute:
            return Gst.PadProbeReturn.DROP
        (told,) = NTP_TIME.unpack_from(data, NTP_AT)
        NTP_TIME.pack_into(data, NTP_AT, told + (error << 32) // NS_PER_S)
        altered = Gst.Buffer.new_wrapped(bytes(data))
        altered.pts, altered.dts = report.pts, report.dts
        pad.get_peer().chain(altered)
        return Gst.PadProbeReturn.DROP


def clock_at(clock: Any, instant: int) -> int:
    """What the pipeline's clock showed at an instant of UTC; read again if interrupted."""
    while True:
        before, now, after = clock.get_time(), time.time_ns(), clock.get_time()
        if after - before < READING_NS:
            return (before + after) // 2 + instant - now


def configure(_: Any, media: Any, camera: Camera) -> None:
    """Start exposing when a client asks for the camera."""
    element = media.get_element()
    element.get_parent().connect("element-added", camera.configure_reports)
    appsrc = element.get_by_name_recurse_up("camera")
    threading.Thread(target=camera.expose, args=(appsrc,), daemon=True).start()


def obey(cameras: dict[str, Camera]) -> None:
    """Follow the commands on standard input; its end ends the server."""
    for line in sys.stdin:
        _, name, seconds = line.split()
        cameras[name].jump_ns = round(float(seconds) * NS_PER_S)
        print(line.strip(), flush=True)


def main() -> None:
    """Serve until standard input ends."""
    Gst.init(None)
    server = GstRtspServer.RTSPServer(address="127.0.0.1", service=sys.argv[1])
    cameras = {camera.name: camera for camera in map(Camera, sys.argv[2:])}
    for camera in cameras.values():
        factory = GstRtspServer.RTSPMediaFactory()
        factory.set_launch(camera.launch())
        factory.set_shared(True)
        factory.connect("media-configure", configure, camera)
        server.get_mount_points().add_factory(f"/{camera.name}", factory)
    loop = GLib.MainLoop()
    if not server.attach(None):
        sys.exit(f"port {sys.argv[1]} is taken")
    for name in cameras:
        print(f"rtsp://127.0.0.1:{sys.argv[1]}/{name}", flush=True)
    threading.Thread(target=lambda: (obey(cameras), loop.quit()), daemon=True).start()
    loop.run()


if __name__ == "__main__":
    main()
