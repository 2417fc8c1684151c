"""Giving the camera's buffers to the worker: descriptors over a local socket, once.

The socket has an abstract name (unix(7)) made from node folder and camera, so nothing is left in
the file system; only processes of the same user are served.
"""

import contextlib
import hashlib
import json
import os
import socket
import struct
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from edge_agent.camera.contract import CameraError

_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid
_MAX_LAYOUT = 1024
_MAX_BUFFERS = 64
_CONNECT_S = 1.0


class Layout(NamedTuple):
    """How a picture lies in a buffer."""

    pixel_format: str
    """libcamera's name: YUV420 or NV12."""
    width: int
    height: int
    stride: int
    """Bytes from one luma row to the next."""
    size: int
    """Bytes of a whole buffer."""


def socket_name(folder: Path, camera: str) -> bytes:
    """The abstract socket where a camera of the node in ``folder`` hands over its buffers."""
    node = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
    return b"\0tutti-" + node.encode() + b"-" + camera.encode()


class HandoverServer:
    """Gives layout, board and buffers to whoever of this user asks. Its thread sleeps in accept."""

    def __init__(self, name: bytes, layout: Layout, fds: Sequence[int]) -> None:
        """Listen at once.

        Raises:
            CameraError: another agent on this machine has the camera.
        """
        self._message = json.dumps(layout).encode()
        self._fds = list(fds)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._socket.bind(name)
        except OSError as error:
            self._socket.close()
            raise CameraError(
                "another agent of this node is running: it has the camera",
                hint="stop it first: systemctl stop edge-agent",
            ) from error
        self._socket.listen()
        self._thread = threading.Thread(target=self._serve, name="handover", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._socket.accept()
            except OSError:
                return  # closed
            with peer, contextlib.suppress(OSError):
                if _user_of(peer) == os.geteuid():
                    socket.send_fds(peer, [self._message], self._fds)


def receive_buffers(name: bytes) -> tuple[Layout, list[int]]:
    """Layout and descriptors (board first) of a camera; the caller owns the descriptors.

    Raises:
        CameraError: the capture process does not answer.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as end:
        end.settimeout(_CONNECT_S)
        try:
            end.connect(name)
            message, fds, _, _ = socket.recv_fds(end, _MAX_LAYOUT, _MAX_BUFFERS)
        except OSError as error:
            raise CameraError(f"the capture process gives no pictures: {error}") from error
    if not message or len(fds) < 2:
        raise CameraError("the capture process gives no pictures: it runs as another user")
    return Layout(*json.loads(message)), list(fds)


def _user_of(peer: socket.socket) -> int:
    packed = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(packed)[1])
