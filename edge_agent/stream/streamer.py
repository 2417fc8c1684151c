"""The streamer: a thread that follows one spool and keeps the server supplied from it."""

import threading
from collections.abc import Callable
from time import monotonic

from capture_protocol.handshake import HandshakeError, Verdict
from edge_agent.process import StreamTarget
from edge_agent.spool import Entry, Spool, SpoolError
from edge_agent.stream.connection import StreamConnection
from edge_agent.stream.nut import NutMuxer

_BACKOFF_S = (0.05, 1.0)  # first and longest wait between attempts to connect
_WATCH_S = 0.1  # while there is nothing to send, the connection is looked at this often
_FINISH_S = 10.0  # FFmpeg closes its last file within this after the end of the stream
_CONFIRM_S = 3.0
"""After everything is sent, how long the server may stay silent before it is asked."""
_CONFIRM_LONGEST_S = 30.0

_PROBLEMS = {
    Verdict.NO_SUCH_SESSION: "the server knows no session {session}",
    Verdict.NO_SUCH_CAMERA: "the server has no such camera: copy node.toml anew from its keys",
    Verdict.FORGED: "the server refuses the rig key: copy rig.key anew from its keys/",
    Verdict.BUSY: "another connection streams as this camera",
    Verdict.STORAGE: "the server cannot store video: its disk is full or read-only",
}


class Streamer(threading.Thread):
    """Delivers one spool. It never gives up while the session may still be wanted."""

    def __init__(
        self,
        spool: Spool,
        target: StreamTarget,
        idle_close_s: float,
        on_drained: Callable[[int], None],
    ) -> None:
        """Args: spool, target, idle time, and what to call (last slot) when all is delivered."""
        super().__init__(name=f"stream-{spool.header.session}", daemon=True)
        self._spool = spool
        self._target = target
        self._idle_close_s = idle_close_s
        self._on_drained = on_drained
        self._stopping = False
        self._durable = 0  # first slot that is not known to be durable
        self._drained_at: int | None = None
        self._backoff_s = 0.0
        self._confirm_s = _CONFIRM_S
        self.sent_slot = -1
        self.connected = False
        self.problem = ""
        self.wanted = True
        """False once the server has said that it wants nothing (more) of this session."""

    def durable_up_to(self, next_slot: int) -> None:
        """Note what the server has in closed files."""
        with self._spool.changed:
            self._durable = max(self._durable, next_slot)
            self._spool.changed.notify_all()

    def stop(self) -> None:
        """End the thread soon; what is not delivered stays in the spool."""
        with self._spool.changed:
            self._stopping = True
            self._spool.changed.notify_all()

    @property
    def is_drained(self) -> bool:
        """Whether all frames of a finished spool were taken by the server."""
        return self._spool.finished and self._drained_at == self._spool.last_slot

    def run(self) -> None:
        """Send until stopped or until the server wants nothing more."""
        while self._wait_for_work() and self.wanted:
            self._deliver()

    def _wait_for_work(self) -> bool:
        """Block until a frame is unsent; False when stopping."""
        spool = self._spool
        with spool.changed:
            if self._backoff_s:
                spool.changed.wait_for(lambda: self._stopping, self._backoff_s)
            while not self._stopping:
                if spool.after(self.sent_slot) is not None:
                    return True
                self._note_drained()
                if not spool.changed.wait(self._confirm_s) and self._unconfirmed():
                    self._confirm_s = min(2 * self._confirm_s, _CONFIRM_LONGEST_S)
                    self.sent_slot = self._durable - 1
        return False

    def _unconfirmed(self) -> bool:
        """Everything was sent and the session is over, but the server has not said it is safe."""
        return self._spool.finished and self._durable <= self._spool.last_slot

    def _note_drained(self) -> None:
        spool = self._spool
        if spool.finished and self._drained_at != spool.last_slot:
            self._drained_at = spool.last_slot
            self._on_drained(spool.last_slot)

    def _deliver(self) -> None:
        """One connection, from handshake to its end."""
        try:
            connection = StreamConnection(self._target, self._spool.header.session)
        except (OSError, HandshakeError) as error:
            self.problem = f"no stream to {self._target.host}:{self._target.port}: {error}"
            self._back_off()
            return
        try:
            if self._heed(connection):
                self.connected, self.problem = True, ""
                self._pump(connection)
                self._backoff_s = 0.0
        except (OSError, SpoolError) as error:
            self.problem = f"the stream broke off: {error}"
            self.sent_slot = self._durable - 1
            self._back_off()
        finally:
            self.connected = False
            connection.close()

    def _heed(self, connection: StreamConnection) -> bool:
        """Take in the server's verdict; True if it wants frames that are here."""
        verdict = connection.verdict
        if verdict is Verdict.ACCEPTED:
            self.durable_up_to(connection.resume_slot)
            if connection.resume_slot <= self._spool.last_slot:
                return True
            self.sent_slot = self._spool.last_slot
            return False
        if verdict is Verdict.COMPLETE:
            self.durable_up_to(self._spool.last_slot + 1)
            self.sent_slot = self._spool.last_slot
            return False
        self.problem = _PROBLEMS[verdict].format(session=self._spool.header.session)
        if verdict is Verdict.NO_SUCH_SESSION and self._spool.finished:
            self.wanted = False
        self._back_off()
        return False

    def _back_off(self) -> None:
        first, longest = _BACKOFF_S
        self._backoff_s = min(2 * self._backoff_s or first, longest)

    def _pump(self, connection: StreamConnection) -> None:
        """Send from the key frame at or before the resume slot, and follow the spool."""
        entry = self._spool.key_at_or_before(connection.resume_slot)
        if entry is None:
            return
        connection.begin(entry.slot)
        muxer = NutMuxer(connection.socket, self._spool.header)
        following: Entry | None = entry
        while following is not None:
            muxer.write(following.slot, self._spool.read(following), key=following.key)
            self.sent_slot = following.slot
            following = self._next_entry(connection)
        muxer.close()
        if not connection.finish(_FINISH_S):
            raise ConnectionError("the server did not take the end of the stream")

    def _next_entry(self, connection: StreamConnection) -> Entry | None:
        """The next access unit; None when the stream should end (finished, idle, stopping)."""
        spool = self._spool
        idle_at = monotonic() + self._idle_close_s
        with spool.changed:
            while (entry := spool.after(self.sent_slot)) is None:
                left_s = idle_at - monotonic()
                if spool.finished or self._stopping or left_s <= 0:
                    return None
                spool.changed.wait(min(left_s, _WATCH_S))
                if connection.peer_is_gone():
                    raise ConnectionError("the server closed the connection")
        return entry
