"""Keeps the running session: START and STOP in, orders out, and what must be remembered."""

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Protocol

from capture_protocol.datagram import DatagramCodec, DatagramError, Refusal, Start, Stop
from capture_protocol.events import AgentState
from edge_agent.agent.machine import Outcome, SessionMachine
from edge_agent.agent.memory import AgentMemory
from edge_agent.process import (
    CaptureDone,
    CaptureStatus,
    EndSession,
    SessionOrder,
    SessionRefused,
    SessionTaken,
)

_OVER_NS = 2_000_000_000
"""A session whose last slot is this long past is not rejoined after a restart."""

_ANSWER_S = 0.1
"""Between two answers to repeated commands; the server repeats a command no faster."""
_MOST_UNSEALED = 20
"""Sessions that the server never seals are owed to it only so long; their spools stay on disk."""

Acknowledge = Callable[[Literal["start", "stop"], int, bool, str], None]
"""of ("start" or "stop"), session, accepted, reason"""


class Orders(Protocol):
    """Where orders go: `Children`."""

    def to_capture(self, order: Any) -> None:
        """To the capture process."""

    def to_workers(self, order: Any) -> None:
        """To all workers."""


class SessionKeeper:
    """Acts on datagrams, remembers what must survive a kill, and follows the capture process."""

    def __init__(
        self,
        codec: DatagramCodec,
        memory_path: Path,
        orders: Orders,
        acknowledge: Acknowledge,
    ) -> None:
        self.memory = AgentMemory.load(memory_path)
        self.machine = SessionMachine(self.memory.finished)
        self.refused: Counter[str] = Counter()
        """Datagrams that had no effect, by `Refusal`."""
        self._codec = codec
        self._memory_path = memory_path
        self._orders = orders
        self._acknowledge = acknowledge
        self._rejections: dict[int, str] = {}
        self._taken = 0
        self._leaving = False
        self._next_answer_s = 0.0

    @property
    def session(self) -> int:
        """The session being recorded, 0 if none."""
        return self.machine.session

    @property
    def state(self) -> AgentState:
        """What the agent is doing."""
        return self.machine.state

    def resume(self) -> None:
        """After a restart: go on with the remembered session if it is not over yet."""
        start = self._decode_hex(self.memory.start)
        stop = self._decode_hex(self.memory.stop)
        if not isinstance(start, Start):
            return
        last_slot = stop.last_slot if isinstance(stop, Stop) else start.last_slot
        self.machine.on_start(start)
        if isinstance(stop, Stop):
            self.machine.on_stop(stop)
        if last_slot is not None and start.grid.time_ns(last_slot) + _OVER_NS < time.time_ns():
            self._finish(start.session)
            return
        self._orders.to_capture(SessionOrder(start, last_slot))

    def unsealed_orders(self) -> list[SessionOrder]:
        """What a worker must know when it starts: all sessions that may have frames left."""
        starts = (self._decode_hex(text) for _, text in sorted(self.memory.unsealed.items()))
        return [
            SessionOrder(start, running=start.session == self.session)
            for start in starts
            if isinstance(start, Start)
        ]

    def take_datagram(self, data: bytes) -> None:
        """Act on a datagram from the network, or count why not."""
        self._take(data, time.time_ns())

    def take_registered(self, start: str, stop: str, was_recording: int) -> None:
        """Act on what the server says is running.

        Args:
            start: START datagram in hex, empty if nothing runs.
            stop: STOP datagram in hex.
            was_recording: the session that we had told the server of.
        """
        for text in (start, stop):
            if text:
                self._take(_from_hex(text), None)
        if not start and was_recording and was_recording == self.session:
            self.end_now()

    def leave(self) -> None:
        """End the running session here, but remember it: the next agent rejoins it."""
        self._leaving = True
        self.end_now()

    def end_now(self) -> None:
        """End the running session with the slot that is being exposed."""
        start = self.machine.start
        if start is not None:
            slot = max(start.grid.nearest_slot(time.time_ns()), 0)
            self._orders.to_capture(EndSession(start.session, slot))

    def on_capture_report(self, report: Any) -> None:
        """Follow the capture process."""
        if isinstance(report, SessionTaken):
            self._taken = report.session
            self._acknowledge("start", report.session, True, "")
        elif isinstance(report, SessionRefused):
            self._rejections[report.session] = report.reason
            self.machine.on_refused(report.session)
            self._remember_running()
            self._acknowledge("start", report.session, False, report.reason)
        elif isinstance(report, CaptureStatus) and report.capturing:
            self.machine.on_capturing(report.session)
        elif isinstance(report, CaptureDone):
            self._finish(report.session)

    def forget(self, session: int) -> None:
        """The server has sealed a session."""
        if self.memory.unsealed.pop(session, None) is not None:
            self._save()

    def _answer_again(
        self, of: Literal["start", "stop"], session: int, *, accepted: bool, reason: str = ""
    ) -> None:
        """Answer a repeated command, but not a flood of them with a flood of answers."""
        now_s = time.monotonic()
        if now_s >= self._next_answer_s:
            self._next_answer_s = now_s + _ANSWER_S
            self._acknowledge(of, session, accepted, reason)

    def _take(self, data: bytes, now_ns: int | None) -> None:
        try:
            message = self._codec.decode(data, now_ns)
            if isinstance(message, Start):
                self._take_start(message, data)
            else:
                self._take_stop(message, data)
        except DatagramError as error:
            self.refused[error.refusal.value] += 1

    def _take_start(self, start: Start, data: bytes) -> None:
        if start.session in self._rejections:
            reason = self._rejections[start.session]
            self._answer_again("start", start.session, accepted=False, reason=reason)
            return
        try:
            outcome = self.machine.on_start(start)
        except DatagramError as error:
            if error.refusal is Refusal.BUSY:
                reason = f"still recording session {self.session}"
                self._answer_again("start", start.session, accepted=False, reason=reason)
            raise
        if outcome is Outcome.AGAIN:
            if self._taken == start.session:
                self._answer_again("start", start.session, accepted=True)
            return
        self.memory.unsealed[start.session] = data.hex()
        for forgotten in sorted(self.memory.unsealed)[:-_MOST_UNSEALED]:
            del self.memory.unsealed[forgotten]
        self.memory.start, self.memory.stop = data.hex(), ""
        self.memory.rate = str(start.rate)
        self._save()
        self._orders.to_workers(SessionOrder(start))
        self._orders.to_capture(SessionOrder(start, start.last_slot))

    def _take_stop(self, stop: Stop, data: bytes) -> None:
        if stop.session == self.machine.finished:
            self._answer_again("stop", stop.session, accepted=True)  # it is done
            return
        if self.machine.on_stop(stop) is Outcome.NEW:
            self.memory.stop = data.hex()
            self._save()
            self._orders.to_capture(EndSession(stop.session, stop.last_slot))
            self._acknowledge("stop", stop.session, True, "")
        else:
            self._answer_again("stop", stop.session, accepted=True)

    def _finish(self, session: int) -> None:
        """The session's last frame is handed over."""
        if session != self.session:
            return
        self.machine.on_captured(session)
        if self._leaving:
            return
        self.memory.finished = self.machine.finished
        self._remember_running()

    def _remember_running(self) -> None:
        if self.machine.start is None:
            self.memory.start = self.memory.stop = ""
        self._save()

    def _save(self) -> None:
        self.memory.save(self._memory_path)

    def _decode_hex(self, text: str) -> Start | Stop | None:
        try:
            return self._codec.decode(_from_hex(text), None) if text else None
        except DatagramError:
            return None  # of another rig: the state folder was taken along


def _from_hex(text: str) -> bytes:
    """The bytes; none if it is no hex, which no datagram is."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""
