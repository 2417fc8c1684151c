"""NUT over a socket: access units with their slot number as time stamp."""

import socket
from fractions import Fraction

import av

from edge_agent.spool import SpoolHeader


class _SocketWriter:
    """The file-like object that PyAV writes to."""

    def __init__(self, peer: socket.socket) -> None:
        self._peer = peer

    def write(self, data: bytes) -> int:
        self._peer.sendall(data)
        return len(data)


class NutMuxer:
    """One NUT stream: pts = slot, time base Δ, so that container time is ``slot·Δ`` from t0.

    Every packet is flushed to the socket. Errors of the socket come out of `write` and `close`
    as they are (OSError).
    """

    def __init__(self, peer: socket.socket, header: SpoolHeader) -> None:
        options = {"flush_packets": "1", "write_index": "0"}
        self._container = av.open(_SocketWriter(peer), "w", format="nut", options=options)
        stream = self._container.add_stream("libx264", rate=header.rate)
        stream.width, stream.height, stream.pix_fmt = header.width, header.height, "yuv420p"
        self._time_base: Fraction = 1 / header.rate
        stream.time_base = self._time_base
        self._stream = stream

    def write(self, slot: int, unit: bytes, *, key: bool) -> None:
        """Send one access unit (Annex B).

        Raises:
            OSError: the connection is gone or the peer does not read.
        """
        packet = av.Packet(unit)
        packet.stream = self._stream
        packet.pts = packet.dts = slot
        packet.time_base = self._time_base
        packet.duration = 1
        packet.is_keyframe = key
        self._container.mux_one(packet)

    def close(self) -> None:
        """Write what NUT writes at the end.

        Raises:
            OSError: as `write`.
        """
        self._container.close()
