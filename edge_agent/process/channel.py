"""Messages between the agent and its children: whole objects over a sequenced-packet socket."""

import pickle
import socket
from typing import Any

_MAX_MESSAGE = 65_536


class Channel:
    """One end of a pair. Sending never blocks; the children are the agent's own processes.

    Pickle is safe here because both ends run the same code and the socket has no name that
    anyone else could connect to.
    """

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._end.setblocking(False)
        self.closed = False

    def fileno(self) -> int:
        """For poll and event loops."""
        return self._end.fileno()

    def send(self, message: Any) -> bool:
        """Send one message; False if the other end is gone or does not read."""
        try:
            self._end.send(pickle.dumps(message))
        except (BlockingIOError, ConnectionError, BrokenPipeError):
            return False
        return True

    def receive(self) -> Any | None:
        """The next message, or None; `closed` tells whether the other end is gone."""
        try:
            data = self._end.recv(_MAX_MESSAGE)
        except BlockingIOError:
            return None
        except ConnectionError:
            data = b""
        if not data:
            self.closed = True
            return None
        return pickle.loads(data)  # noqa: S301  # from our own child or parent only

    def close(self) -> None:
        """Close this end; the other one sees it."""
        self._end.close()

    @property
    def socket(self) -> socket.socket:
        """The socket itself, to hand it to a child."""
        return self._end


def channel_pair() -> tuple[Channel, Channel]:
    """Two connected ends."""
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return Channel(left), Channel(right)
