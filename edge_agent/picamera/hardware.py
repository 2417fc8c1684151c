"""The Pi's own H.264 encoder (Pi 4 and older) through picamera2, in the worker.

The encoder reads the camera's buffer by its descriptor: the picture is not copied at all. It
runs here and not in the capture process because only the worker knows which slots are key frames,
and splices the evidence into the access unit anyway. A Pi 5 has no such encoder.
"""

import queue
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

from av.video.frame import VideoFrame

from capture_protocol.rig import NodeCamera
from edge_agent.picamera.codec import has_hardware_encoder, wants_hardware
from edge_agent.picamera.pictures import SharedPictures
from edge_agent.stream.encoder import EncoderError

_PATIENCE_S = 0.5  # 1080p takes about 20 ms
_NEVER = 1 << 16  # slots: key frames come only where they are forced
_US_PER_S = 1_000_000


class HardwareEncoder:
    """One picture in, one access unit out; same calls as `edge_agent.stream.encoder.Encoder`."""

    def __init__(self, pictures: SharedPictures, encoder: Any, rate: Fraction) -> None:
        """Start a `picamera2.encoders.H264Encoder` on the buffers that the pictures lie in."""
        layout = pictures.require_layout()
        self._pictures = pictures
        self._encoder = encoder
        self._slot_us = _US_PER_S / rate
        self._first_slot: int | None = None
        self._units: queue.SimpleQueue[tuple[bytes, bool, int]] = queue.SimpleQueue()
        self._stream = SimpleNamespace(configuration=SimpleNamespace(frame_size=layout.size))
        encoder.size = (layout.width, layout.height)
        encoder.stride = layout.stride
        encoder.format = layout.pixel_format
        encoder.output = _make_output(self._units)
        encoder.start()

    def encode(self, picture: VideoFrame, slot: int, *, key: bool) -> bytes:  # noqa: ARG002
        """The access unit of the picture that was last asked for.

        Raises:
            EncoderError: none came, or it is no key frame although it must be.
        """
        stamp_us = self._stamp_us(slot)
        if key:
            self._encoder.force_key_frame()
        try:
            self._encoder.encode(self._stream, _Handed(self._pictures.current_fd, stamp_us))
        except OSError as error:
            raise EncoderError(f"the hardware encoder refused slot {slot}: {error}") from error
        unit, is_key = self._await_unit(stamp_us - self._stamp_us(self._first(slot)), slot)
        if key and not is_key:
            raise EncoderError(f"the hardware encoder made no key frame of slot {slot}")
        return unit

    def close(self) -> None:
        """Free the codec."""
        self._encoder.stop()

    def _stamp_us(self, slot: int) -> int:
        return int(slot * self._slot_us)

    def _first(self, slot: int) -> int:
        """picamera2 counts time stamps from the first frame."""
        if self._first_slot is None:
            self._first_slot = slot
        return self._first_slot

    def _await_unit(self, stamp_us: int, slot: int) -> tuple[bytes, bool]:
        """Wait for the unit with this stamp; older ones belong to pictures given up on."""
        while True:
            try:
                unit, is_key, unit_us = self._units.get(timeout=_PATIENCE_S)
            except queue.Empty as error:
                raise EncoderError(
                    f"the hardware encoder gave nothing for slot {slot} within {_PATIENCE_S} s"
                ) from error
            if unit_us >= stamp_us:
                return unit, is_key


class _Handed:
    """What picamera2's encoder needs of a completed request: buffer, time stamp, references."""

    def __init__(self, fd: int, stamp_us: int) -> None:
        buffer = SimpleNamespace(planes=[SimpleNamespace(fd=fd)])
        self.request = SimpleNamespace(buffers=_Only(buffer), metadata=_Only(stamp_us * 1000))

    def acquire(self) -> None:
        """The worker holds the picture until it asks for the next one."""

    def release(self) -> None:
        """See `acquire`."""


class _Only:
    """A mapping with one value: the buffer of the only stream, or SensorTimestamp in ns."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __getitem__(self, _key: Any) -> Any:
        return self._value


def _make_output(units: "queue.SimpleQueue[tuple[bytes, bool, int]]") -> Any:
    from picamera2.outputs import Output

    def outputframe(
        _self: Any,
        frame: bytes,
        keyframe: bool = True,
        timestamp: int = 0,
        _packet: Any = None,
        _audio: bool = False,
    ) -> None:
        units.put((bytes(frame), keyframe, timestamp))

    return type("UnitOutput", (Output,), {"outputframe": outputframe})()


def open_hardware(
    pictures: SharedPictures, config: NodeCamera, rate: Fraction
) -> HardwareEncoder | None:
    """The hardware encoder for a camera, or None where x264 does it.

    Raises:
        InputError: see `wants_hardware`.
    """
    if not wants_hardware(config, has_hardware_encoder()):
        return None
    from picamera2.encoders import H264Encoder

    encoder = H264Encoder(
        bitrate=config.bitrate_kbps * 1000,
        repeat=True,
        iperiod=_NEVER,
        framerate=float(rate),
        profile="high",
    )
    return HardwareEncoder(pictures, encoder, rate)
