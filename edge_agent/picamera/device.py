"""One picamera2 camera whose requests are queued by hand.

picamera2 queues every request again as soon as it is released; here a request is queued when the
rig's grid says so, and carries the frame length that the genlock chose. Used of picamera2: its
configuration, allocator and camera manager; its event loop, previews and encoders stay off.
"""

from collections.abc import Callable, Mapping
from typing import Any

from edge_agent.camera.contract import CameraError
from edge_agent.picamera.handover import Layout
from edge_agent.picamera.metadata import Delivered
from edge_agent.picamera.threads import serve_release
from edge_agent.sensor import FrameDurationLimits

Submit = Callable[[Any, FrameDurationLimits], None]
"""Queues a libcamera request that carries these limits."""


class PicameraDevice:
    """An opened and configured camera: requests by index in, completed requests out."""

    def __init__(self, picam2: Any, limits_control: Any, submit: Submit | None = None) -> None:
        """Make the requests.

        Args:
            picam2: a configured `picamera2.Picamera2` with a stream "main".
            limits_control: `libcamera.controls.FrameDurationLimits`.
            submit: queues a request; the camera's own way by default.
        """
        self._picam2 = picam2
        self._limits_control = limits_control
        self._submit: Submit = submit or self._queue_directly
        self._requests = picam2._make_requests()
        self._index = {id(request): index for index, request in enumerate(self._requests)}
        picam2._make_requests = list  # `start` would queue them all

    @property
    def buffers(self) -> list[int]:
        """Descriptors of the picture buffers, one per request."""
        picam2 = self._picam2
        shown = picam2.allocator.buffers(picam2.stream_map["main"])
        return [buffer.planes[0].fd for buffer in shown[: len(self._requests)]]

    @property
    def layout(self) -> Layout:
        """How a picture lies in its buffer."""
        main = self._picam2.camera_config["main"]
        width, height = main["size"]
        return Layout(main["format"], width, height, main["stride"], main["framesize"])

    @property
    def ranges(self) -> Mapping[str, Any]:
        """The camera's controls in this configuration: name → (least, greatest, default)."""
        ranges: Mapping[str, Any] = self._picam2.camera_controls
        return ranges

    def start(self, controls: Mapping[str, Any]) -> None:
        """Let the sensor run with these controls; nothing is queued yet.

        Raises:
            CameraError: the camera refuses.
        """
        try:
            self._picam2.set_controls(dict(controls))
            self._picam2.start(show_preview=None)
        except (RuntimeError, OSError) as error:
            raise CameraError(f"the camera does not start: {error}") from error
        serve_release()

    def stop(self) -> None:
        """Stop the sensor; what is queued or was not taken is forgotten."""
        self._picam2.stop()
        for request in self._requests:
            request.reuse()

    def queue(self, index: int, limits: FrameDurationLimits) -> None:
        """Queue a request."""
        request = self._requests[index]
        request.set_control(self._limits_control, tuple(limits))
        self._submit(request, limits)

    def completed(self) -> list[Delivered]:
        """Requests that came back and were not returned before, in order."""
        picam2 = self._picam2
        if not picam2._requests:
            return []
        with picam2._requestslock:
            done, picam2._requests = picam2._requests, []
        # picamera2 writes a byte per frame for an event loop that does not run here. A full pipe
        # (65 536 frames, half an hour) would end its camera thread.
        picam2.notifymeread.read()
        return [self._take(completed) for completed in done]

    def close(self) -> None:
        """Give the camera back."""
        self._picam2.close()

    def _take(self, completed: Any) -> Delivered:
        """Read a completed request and make it ready to be queued again."""
        request = completed.request
        metadata = {control.name: value for control, value in request.metadata.items()}
        buffer = next(iter(request.buffers.values()))
        sequence = int(buffer.metadata.sequence)
        # picamera2 does not queue a request of an earlier run again, it only lets go of it.
        completed.stop_count = -1
        completed.release()
        request.reuse()
        return Delivered(self._index[id(request)], sequence, metadata)

    def _queue_directly(self, request: Any, limits: FrameDurationLimits) -> None:  # noqa: ARG002
        self._picam2.camera.queue_request(request)
