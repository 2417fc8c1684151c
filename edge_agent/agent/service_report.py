"""What systemd and the journal are told about this agent."""

import logging
from typing import Any

from edge_agent.agent.health import NodeHealth
from edge_agent.agent.keeper import SessionKeeper
from edge_agent.process import CaptureStatus
from edge_agent.service import FrameProgress, fields, service_manager

_log = logging.getLogger("edge_agent")

_STALL_S = 3.0  # without a frame from a camera: longer than any stall that passes by itself


class ServiceReport:
    """Readiness, status line and watchdog of the agent's unit, from what is known of the node."""

    def __init__(self, cameras: int, keeper: SessionKeeper, health: NodeHealth) -> None:
        self._cameras = cameras
        self._keeper = keeper
        self._health = health
        self._manager = service_manager()
        self._progress = FrameProgress(_STALL_S)
        self._still = ""
        self._ready = False

    def take(self, status: CaptureStatus, now_s: float) -> None:
        """The capture process has reported; its first report says that all cameras are open."""
        if not self._ready:
            self._ready = True
            self._manager.ready()
        self._progress.take(status, now_s)

    def tell(self, now_s: float) -> None:
        """Feed the watchdog while frames advance or nothing is to be recorded.

        Not before we are ready: the first feeding starts the watchdog, and cameras may take long
        to open.
        """
        still = self._progress.standing_still(now_s)
        if still and not self._still:
            _log.error("%s: the watchdog is not fed", still, **self.fields())
        self._still = still
        self._manager.status(still or self._doing())
        if self._ready and not still:
            self._manager.alive()

    def stopping(self) -> None:
        """The agent has begun to end in good order."""
        self._manager.stopping()

    def fields(self) -> Any:
        """What every line of the journal should be found by."""
        capture = self._health.capture
        return fields(
            session=self._keeper.session,
            slot=capture.next_slot if capture and capture.capturing else None,
            offset_ns=self._health.discipline.offset_ns,
        )

    def _doing(self) -> str:
        keeper, capture = self._keeper, self._health.capture
        where = f" session {keeper.session}" if keeper.session else ""
        slot = f", slot {capture.next_slot}" if capture and capture.capturing else ""
        return f"{keeper.state.name.lower()}{where}{slot}, {self._cameras} cameras"
