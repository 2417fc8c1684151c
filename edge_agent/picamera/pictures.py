"""The worker's view of the camera's pictures, in the buffers that the camera filled."""

import contextlib
import fcntl
import mmap
import os
import struct
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

from capture_protocol.frame import FrameRecord
from capture_protocol.rig import NodeCamera
from edge_agent.camera.contract import CameraError
from edge_agent.picamera.board import Board, claim
from edge_agent.picamera.handover import Layout, receive_buffers, socket_name

if TYPE_CHECKING:
    from edge_agent.picamera.hardware import HardwareEncoder

_FORMATS = {"YUV420": "yuv420p", "NV12": "nv12"}  # libcamera's name → FFmpeg's
_DMA_BUF_SYNC = 0x40086200  # DMA_BUF_IOCTL_SYNC of linux/dma-buf.h
_SYNC_START_READ = struct.pack("=Q", 1)
_SYNC_END_READ = struct.pack("=Q", 1 | 4)


class CameraBuffer:
    """One buffer of the camera, mapped read-only into this process."""

    def __init__(self, fd: int, layout: Layout) -> None:
        self.fd = fd
        self._map = mmap.mmap(fd, layout.size, prot=mmap.PROT_READ)
        rows = layout.height * 3 // 2
        flat = np.frombuffer(self._map, np.uint8, rows * layout.stride)
        self.array: npt.NDArray[np.uint8] = flat.reshape(rows, layout.stride)

    def begin(self) -> None:
        """Make what the camera wrote visible to this CPU."""
        self._sync(_SYNC_START_READ)

    def end(self) -> None:
        """Leave the buffer to the camera."""
        self._sync(_SYNC_END_READ)

    def _sync(self, flags: bytes) -> None:
        with contextlib.suppress(OSError):  # plain memory (the virtual camera's) needs no sync
            fcntl.ioctl(self.fd, _DMA_BUF_SYNC, flags)


class SharedPictures:
    """Pictures of one camera by the number in its FRAME event (see `board`).

    A picture is valid until the next one is asked for. YUV420 is given as it lies in the
    camera's buffer; NV12 is rearranged, which is a copy.
    """

    def __init__(self, config: NodeCamera, folder: Path) -> None:
        """Args: the camera's section, and the folder of node.toml."""
        self._config = config
        self._name = socket_name(folder, config.name)
        self._board: Board | None = None
        self._buffers: list[CameraBuffer] = []
        self._current: CameraBuffer | None = None
        self._layout: Layout | None = None
        self._hardware: HardwareEncoder | None = None

    def hardware_encoder(self, rate: Fraction) -> "HardwareEncoder | None":
        """A new hardware encoder that reads the buffers itself; None where x264 has to do it.

        Raises:
            InputError: the option ``encoder`` asks for what is not there.
        """
        from edge_agent.picamera.hardware import open_hardware

        if self._hardware is not None:
            self._hardware.close()
        self._hardware = open_hardware(self, self._config, rate)
        return self._hardware

    def require_layout(self) -> Layout:
        """How the pictures lie in their buffers.

        Raises:
            CameraError: the capture process does not answer.
        """
        return self._connect()[1]

    @property
    def current_fd(self) -> int:
        """Descriptor of the buffer that holds the last picture that was asked for.

        Raises:
            CameraError: none was.
        """
        if self._current is None:
            raise CameraError("no picture is being read")
        return self._current.fd

    def picture(self, record: FrameRecord, reference: int) -> VideoFrame:  # noqa: ARG002
        """The yuv420p picture of a frame.

        Raises:
            CameraError: it was overwritten, or the capture process does not answer.
        """
        if self._current is not None:
            self._current.end()
            self._current = None
        board, layout = self._connect()
        buffer = self._buffers[claim(board, reference)]
        buffer.begin()
        self._current = buffer
        pixel_format = _FORMATS[layout.pixel_format]
        frame = VideoFrame.from_numpy_buffer(buffer.array, format=pixel_format, width=layout.width)
        return frame if pixel_format == "yuv420p" else frame.reformat(format="yuv420p")

    def _connect(self) -> tuple[Board, Layout]:
        if self._board is None or self._layout is None:
            self._layout, fds = receive_buffers(self._name)
            self._buffers = [CameraBuffer(fd, self._layout) for fd in fds[1:]]
            self._board = Board(fds[0], len(self._buffers))
        return self._board, self._layout

    def close(self) -> None:
        """Give everything back."""
        if self._hardware is not None:
            self._hardware.close()
            self._hardware = None
        if self._board is not None:
            self._board.close()
        for buffer in self._buffers:
            os.close(buffer.fd)
        self._board, self._buffers, self._current = None, [], None
