"""One open session on the server: takes in segments and messages until it can be sealed."""

import asyncio
import enum
import logging
import time
from collections.abc import Callable

from capture_protocol import (
    InputError,
    SessionFolder,
    SessionPlan,
    TuttiError,
)
from capture_protocol.control import (
    Drained,
    Durable,
    EventLog,
    EventLogStored,
    Sealed,
    ServerMessage,
)
from capture_protocol.grid import NS_PER_S
from capture_protocol.session import STAGES
from control_server.fleet.announcer import Acknowledgements
from control_server.segmenter.admission import is_delivered
from control_server.session.event_store import EventStore
from control_server.session.intake import SegmentIntake
from control_server.session.notes import DrainedNote, NotesFolder, NotesKeeper
from control_server.session.sealing import Outcome, seal
from control_server.task_set import TaskSet

SAVE_PAUSE_S = 0.1
"""Notes that change in a burst (all cameras close a segment on the same slot) are saved once."""
RETRY_S = 2.0
"""Pause before a failed write (disk full) is tried again."""
_log = logging.getLogger(__name__)

Tell = Callable[[str, ServerMessage], None]
"""Sends a message to a node."""


class Phase(enum.StrEnum):
    """Where a session is in its life."""

    ARMED = "armed"  # before t0
    RECORDING = "recording"
    DRAINING = "draining"  # past its last slot; not everything is here yet
    SEALING = "sealing"
    INCOMPLETE = "incomplete"  # sealed, but a camera may still deliver
    COMPLETE = "complete"


class SessionRun:
    """The life of one session between its plan and its manifest."""

    def __init__(self, folder: SessionFolder, plan: SessionPlan, tell: Tell) -> None:
        self.folder = folder
        self.plan = plan
        self.keeper = NotesKeeper(NotesFolder(folder))
        self.events = EventStore(folder)
        self.start_acks = Acknowledgements(self.nodes)
        self.stop_acks = Acknowledgements(self.nodes)
        self.intake = SegmentIntake(self.keeper.folder, plan, self._on_segments)
        self.problem = ""
        """What keeps the server from storing, empty while all is well."""
        self.manifest = folder.read_manifest()
        self._sealing = False
        self._tell = tell
        self._changed = asyncio.Event()
        self._dirty = asyncio.Event()
        self._tasks = TaskSet()
        self._storing = asyncio.Lock()

    @property
    def nodes(self) -> set[str]:
        """Nodes that take part."""
        return {camera.node for camera in self.plan.cameras}

    @property
    def last_slot(self) -> int | None:
        """What STOP named, None while none was given."""
        return self.keeper.current.last_slot

    def phase(self, now_ns: int) -> Phase:
        """Where the session is at a UTC."""
        if self._sealing:
            return Phase.SEALING
        if self.manifest is not None:
            return Phase.COMPLETE if self.manifest.complete else Phase.INCOMPLETE
        if now_ns < self.plan.t0_ns:
            return Phase.ARMED
        if self.last_slot is None or now_ns <= self.plan.grid.time_ns(self.last_slot):
            return Phase.RECORDING
        return Phase.DRAINING

    def open(self) -> None:
        """Take in files and messages from now on, and seal when the time has come."""
        self.intake.open()
        self._tasks.spawn(self._save_changes())
        self._tasks.spawn(self._finish())

    async def close(self) -> None:
        """Let go of the session; whoever opens it next goes on from its folder."""
        await self._tasks.close()
        await self.intake.close()

    async def set_stop(self, datagram: bytes, last_slot: int) -> None:
        """Note the STOP before it is sent; on a full disk it is saved as soon as that works."""
        self.keeper.update(stop_datagram=datagram.hex(), last_slot=last_slot)
        self._mark()
        await self._save()

    async def wait_for(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds that this session's progress can make true."""
        while not holds():
            self._changed.clear()
            await self._changed.wait()

    def progress_for(self, node: str) -> list[ServerMessage]:
        """What a node that registers has to know of this session."""
        messages: list[ServerMessage] = []
        for camera in self._cameras_of(node):
            next_slot = self.keeper.current.durable.get(camera, 0)
            messages.append(Durable(session=self.plan.session, camera=camera, next_slot=next_slot))
            messages += [self._stored(camera, stage) for stage in STAGES]
        if self.manifest is not None and self.is_settled_for(node):
            messages.append(Sealed(session=self.plan.session, complete=self.manifest.complete))
        return messages

    def take_drained(self, message: Drained) -> None:
        """A camera has nothing left to send."""
        note = DrainedNote(frames=message.frames, last_slot=message.last_slot)
        drained = {**self.keeper.current.drained, message.camera: note}
        self.keeper.update(drained=drained)
        self._mark()

    async def take_log(self, message: EventLog, records: bytes) -> EventLogStored | None:
        """Store a batch of an event log; None if it could not be stored (it is sent again)."""
        key = (message.camera, message.stage)
        try:
            async with self._storing:
                await asyncio.to_thread(self.events.append, key, records)
            if message.final and key not in self.keeper.current.final_logs:
                self.keeper.update(final_logs=[*self.keeper.current.final_logs, key])
                await self.keeper.save()
        except OSError as error:
            self.problem = f"event logs cannot be stored: {error.strerror}"
            return None
        except InputError as error:
            _log.warning("event log of %s: %s", message.camera, error)
            return None
        self._mark()
        return self._stored(message.camera, message.stage)

    def is_settled(self, camera: str) -> bool:
        """Whether nothing more can come of a camera, and its logs say so."""
        notes = self.keeper.current
        return (
            is_delivered(notes, camera)
            and all((camera, stage) in notes.final_logs for stage in STAGES)
            and not self.intake.lives[camera]
        )

    def is_settled_for(self, node: str) -> bool:
        """`is_settled` for all cameras of a node."""
        return all(self.is_settled(camera) for camera in self._cameras_of(node))

    def unsettled(self) -> list[str]:
        """Cameras of which something may still come."""
        return [camera for camera in self.intake.accounts if not self.is_settled(camera)]

    def why_unsettled(self, camera: str) -> str:
        """What is missing of a camera, for the operator."""
        notes = self.keeper.current
        if not is_delivered(notes, camera):
            return f"{camera}: video is missing from slot {notes.durable.get(camera, 0)} on"
        if self.intake.lives[camera]:
            return f"{camera}: its stream is still open"
        return f"{camera}: its event log was not handed over"

    def _cameras_of(self, node: str) -> list[str]:
        return [camera.name for camera in self.plan.cameras if camera.node == node]

    def _stored(self, camera: str, stage: str) -> EventLogStored:
        key = next((camera, known) for known in STAGES if known == stage)
        return EventLogStored(
            session=self.plan.session,
            camera=camera,
            stage=key[1],
            next_number=self.events.next_number(key),
        )

    def _on_segments(self, camera: str) -> None:
        next_slot = self.intake.accounts[camera].next_slot
        if next_slot > self.keeper.current.durable.get(camera, 0):  # less while files are reread
            self.keeper.update(durable={**self.keeper.current.durable, camera: next_slot})
            node = self.plan.camera(camera).node
            self._tell(node, Durable(session=self.plan.session, camera=camera, next_slot=next_slot))
        self._mark()

    def _mark(self) -> None:
        self._dirty.set()
        self._changed.set()

    async def _save_changes(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            if not await self._save():
                self._dirty.set()
                await asyncio.sleep(RETRY_S)
            await asyncio.sleep(SAVE_PAUSE_S)

    async def _save(self) -> bool:
        """Save the notes; on a full disk, say so and leave it to the next try."""
        try:
            await self.keeper.save()
        except OSError as error:
            self.problem = f"the session's notes cannot be saved: {error.strerror}"
            return False
        self.problem = ""
        return True

    async def _finish(self) -> None:
        """Seal when all cameras are settled or the time is up; again whenever one comes late."""
        await self.wait_for(lambda: self.last_slot is not None)
        if self.manifest is None:
            await self._wait_until_settled()
            await self._seal()
        while self.unsettled():
            sealed = set(self.keeper.current.settled)
            await self.wait_for(lambda: bool(self._settled() - sealed))  # noqa: B023 - at once
            await self._save()
            await self.intake.catch_up()
            await self._seal()

    async def _wait_until_settled(self) -> None:
        """Wait until the end of the grid and the time for draining, counted from now at least."""
        now_ns = time.time_ns()
        to_end_s = max(self.plan.grid.time_ns(self.last_slot or 0) - now_ns, 0) / NS_PER_S
        try:
            async with asyncio.timeout(to_end_s + self.plan.drain_timeout_s):
                while not await self._all_is_quiet():
                    await self.wait_for(lambda: not self.unsettled())
        except TimeoutError:
            _log.warning("session %d: gave up waiting for cameras", self.plan.session)

    async def _all_is_quiet(self) -> bool:
        """Whether all cameras are settled and no new connection can be let in.

        Segmenters read the notes under the camera's lock: once the saved notes say that a camera
        is delivered, a lock that is free stays free.
        """
        if self.unsettled():
            return False
        while not await self._save():
            await asyncio.sleep(RETRY_S)
        await self.intake.catch_up()
        return not self.unsettled()

    def _settled(self) -> set[str]:
        return set(self.intake.accounts) - set(self.unsettled())

    async def _seal(self) -> None:
        missing = "; ".join(self.why_unsettled(camera) for camera in self.unsettled())
        outcome = Outcome(-1 if self.last_slot is None else self.last_slot, not missing, missing)
        self._sealing = True
        self.keeper.update(settled=sorted(self._settled()))
        while True:
            try:
                await self.keeper.save()
                accounts = self.intake.copies()
                manifest = await asyncio.to_thread(seal, self.folder, self.plan, accounts, outcome)
                break
            except (OSError, TuttiError) as error:
                self.problem = f"the session cannot be sealed: {error}"
                await asyncio.sleep(RETRY_S)
        self._sealing = False
        self.manifest = manifest
        self._changed.set()
        for node in sorted(self.nodes):
            if self.is_settled_for(node):
                self._tell(node, Sealed(session=self.plan.session, complete=manifest.complete))
