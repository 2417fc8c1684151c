"""One TCP connection to a segmenter: handshake, and how it ends."""

import contextlib
import select
import socket

from capture_protocol.handshake import (
    CHALLENGE_SIZE,
    GREETING_TIMEOUT_S,
    TIMEOUT_S,
    WELCOME_SIZE,
    HandshakeError,
    Hello,
    Verdict,
    pack_begin,
    pack_hello,
    unpack_challenge,
    unpack_welcome,
)
from edge_agent.process import StreamTarget

_USER_TIMEOUT_MS = 5000
"""Unacknowledged data for this long means that the peer is gone (tcp(7))."""


class StreamConnection:
    """A connection whose HELLO was answered."""

    def __init__(self, target: StreamTarget, session: int) -> None:
        """Connect and shake hands.

        Raises:
            OSError: no connection.
            HandshakeError: the peer does not speak the protocol.
        """
        self.socket = socket.create_connection((target.host, target.port), TIMEOUT_S)
        try:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS)
            self.socket.settimeout(GREETING_TIMEOUT_S)
            nonce = unpack_challenge(self._receive(CHALLENGE_SIZE))
            self.socket.settimeout(TIMEOUT_S)
            hello = Hello(target.rig_id, session, target.camera)
            self.socket.sendall(pack_hello(hello, nonce, target.key))
            self.verdict, self.resume_slot = unpack_welcome(self._receive(WELCOME_SIZE))
        except BaseException:
            self.socket.close()
            raise
        self._watch = select.poll()
        self._watch.register(self.socket, select.POLLIN | select.POLLRDHUP)

    @property
    def accepted(self) -> bool:
        """Whether the server wants the stream."""
        return self.verdict is Verdict.ACCEPTED

    def begin(self, first_slot: int) -> None:
        """Announce the first slot."""
        self.socket.sendall(pack_begin(first_slot))

    def peer_is_gone(self) -> bool:
        """Whether the peer has closed: it never sends anything after WELCOME."""
        return bool(self._watch.poll(0))

    def finish(self, timeout_s: float) -> bool:
        """Close our side and wait until the peer has read everything and closes its own.

        Returns whether it did within the timeout.
        """
        try:
            self.socket.shutdown(socket.SHUT_WR)
            self.socket.settimeout(timeout_s)
            while self.socket.recv(1024):
                pass
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Drop the connection."""
        with contextlib.suppress(OSError):
            self.socket.close()

    def _receive(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self.socket.recv(size - len(data))
            if not more:
                raise HandshakeError("the segmenter closed the connection during the handshake")
            data += more
        return data
