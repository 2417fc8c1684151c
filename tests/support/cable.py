"""A network cable that a test can pull: a TCP relay between an agent and a segmenter."""

import contextlib
import socket
import threading

_CHUNK = 65_536


class Cable:
    """Relays every connection to its port to ``target`` while it is plugged in."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._plugged = True
        self._ends: list[socket.socket] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def pull(self) -> None:
        """Cut all connections and refuse new ones."""
        with self._lock:
            self._plugged = False
            for end in self._ends:
                _close(end)
            self._ends.clear()

    def plug(self) -> None:
        """Let connections through again."""
        with self._lock:
            self._plugged = True

    def close(self) -> None:
        """Cut everything for good."""
        self.pull()
        _close(self._listener)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                if not self._plugged:
                    _close(near)
                    continue
                try:
                    far = socket.create_connection(self._target, timeout=5)
                except OSError:
                    _close(near)
                    continue
                far.settimeout(None)
                self._ends += [near, far]
                self.connections += 1
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=_pump, args=(source, sink), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(_CHUNK):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        _close(source)
        _close(sink)


def _close(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
