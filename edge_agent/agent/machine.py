"""What the agent is doing, and which datagrams it may act on: a pure object."""

import enum

from capture_protocol.datagram import DatagramError, Refusal, Start, Stop
from capture_protocol.events import AgentState


class Outcome(enum.Enum):
    """What an acceptable datagram asks for."""

    NEW = enum.auto()
    AGAIN = enum.auto()  # acted on before: acknowledge it once more


class SessionMachine:
    """States idle → armed → capturing → draining → idle of one agent.

    A new START is taken while an older session still drains. Sessions ascend: what is not newer
    than the highest finished one is a replay.
    """

    def __init__(self, finished: int = 0) -> None:
        self.state = AgentState.IDLE
        self.finished = finished
        """Highest session that this agent has finished."""
        self.start: Start | None = None
        """START of the session being recorded."""
        self.stop: Stop | None = None

    @property
    def session(self) -> int:
        """The session being recorded, 0 if none."""
        return self.start.session if self.start else 0

    def on_start(self, start: Start) -> Outcome:
        """A START came.

        Raises:
            DatagramError: replayed, or another session is being recorded.
        """
        if start == self.start:
            return Outcome.AGAIN
        if start.session <= self.finished:
            raise DatagramError(Refusal.REPLAYED)
        if self.start is not None:
            raise DatagramError(Refusal.BUSY)
        self.start, self.stop = start, None
        self.state = AgentState.ARMED
        return Outcome.NEW

    def on_stop(self, stop: Stop) -> Outcome:
        """A STOP came.

        Raises:
            DatagramError: it is not for the session being recorded, or names another last slot
                than the STOP that was taken.
        """
        if stop.session != self.session:
            raise DatagramError(Refusal.WRONG_SESSION)
        if self.stop is None:
            self.stop = stop
            return Outcome.NEW
        if stop != self.stop:
            raise DatagramError(Refusal.REPLAYED)
        return Outcome.AGAIN

    def on_capturing(self, session: int) -> None:
        """The first slot of a session was released."""
        if session == self.session and self.state is AgentState.ARMED:
            self.state = AgentState.CAPTURING

    def on_captured(self, session: int) -> None:
        """The last frame of a session was handed over."""
        if session == self.session:
            self.finished = max(self.finished, session)
            self.start = self.stop = None
            self.state = AgentState.DRAINING

    def on_refused(self, session: int) -> None:
        """The cameras cannot record this session."""
        if session == self.session:
            self.start = self.stop = None
            self.state = AgentState.IDLE

    def on_drained(self) -> None:
        """Nothing is left to send."""
        if self.state is AgentState.DRAINING:
            self.state = AgentState.IDLE
