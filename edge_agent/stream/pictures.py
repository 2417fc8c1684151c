"""Where a worker gets the picture of a frame from, by what the FRAME event says of it."""

from pathlib import Path
from typing import Protocol

from av.video.frame import VideoFrame

from capture_protocol import optical_clock
from capture_protocol.errors import InputError
from capture_protocol.frame import FrameRecord
from capture_protocol.rig import NodeCamera
from edge_agent.camera import CameraError
from edge_agent.camera.buffers import PictureBuffers
from edge_agent.camera.footage import Footage, resolve
from edge_agent.picamera import SharedPictures
from edge_agent.scene import Scene


class Pictures(Protocol):
    """Pictures of one camera."""

    def picture(self, record: FrameRecord, reference: int) -> VideoFrame:
        """The yuv420p picture of a frame.

        Args:
            record: the frame's evidence.
            reference: the FRAME event's `PICTURE_STRUCT` value.
        """


class RenderedPictures:
    """The scene as it was at the true exposure midpoint, with the optical clock in it."""

    def __init__(self, config: NodeCamera) -> None:
        seed = config.options.get("seed", config.index)
        self._scene = Scene(config.width, config.height, int(seed))
        self._buffer = self._scene.blank()
        self._luma = self._buffer[: config.height]
        self._bands = _centre_rows(config.height, config.width)

    def picture(self, record: FrameRecord, reference: int) -> VideoFrame:
        """See `Pictures.picture`; ``reference`` is the true midpoint of the middle row, UTC ns."""
        self._scene.render(self._buffer, reference)
        height = len(self._luma)
        readout_ns = record.rows * record.line_time_ns
        instants = [
            reference + (2 * row - height) * readout_ns // (2 * height) for row in self._bands
        ]
        if instants:
            optical_clock.draw(self._luma, instants)
        return VideoFrame.from_ndarray(self._buffer, format="yuv420p")


class FilePictures:
    """Pictures of a video file, untouched where it has the camera's size already."""

    def __init__(self, config: NodeCamera, folder: Path) -> None:
        self._footage = Footage(resolve(config.device, folder))
        self._size = config.width, config.height
        self._number = -1
        self._shown: VideoFrame | None = None

    def picture(self, record: FrameRecord, reference: int) -> VideoFrame:  # noqa: ARG002
        """See `Pictures.picture`; ``reference`` is the picture's number in the file."""
        if self._shown is None or reference != self._number:
            self._shown = self._fit(self._footage.picture(reference))
            self._number = reference
        return self._shown

    def _fit(self, picture: VideoFrame) -> VideoFrame:
        if (picture.width, picture.height) == self._size and picture.format.name == "yuv420p":
            return picture
        width, height = self._size
        return picture.reformat(width=width, height=height, format="yuv420p")


class BufferedPictures:
    """Pictures that a real camera's thread left in shared memory."""

    def __init__(self, config: NodeCamera, buffers: int) -> None:
        self._buffers = PictureBuffers(buffers, config)

    def picture(self, record: FrameRecord, reference: int) -> VideoFrame:
        """See `Pictures.picture`; ``reference`` is the picture's number in the buffers."""
        picture = self._buffers.read(reference)
        if picture is None:
            raise CameraError(f"the picture of slot {record.slot} was replaced before its turn")
        return picture


def open_pictures(config: NodeCamera, folder: Path, buffers: int | None = None) -> Pictures:
    """The pictures of a camera.

    Args:
        config: the camera's section.
        folder: where node.toml lies.
        buffers: memfd of a camera that `needs_buffers`.

    Raises:
        CameraError: the file cannot be opened.
        InputError: the backend has no pictures that a worker could get.
    """
    if config.backend == "simulated":
        return RenderedPictures(config)
    if config.backend == "file":
        return FilePictures(config, folder)
    if config.backend == "picamera":
        return SharedPictures(config, folder)
    if buffers is not None:
        return BufferedPictures(config, buffers)
    raise InputError(f"camera {config.name}: backend {config.backend!r} gives no pictures here")


def _centre_rows(height: int, width: int) -> tuple[int, ...]:
    return optical_clock.band_rows(height, width) if optical_clock.fits(height, width) else ()
