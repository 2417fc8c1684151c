"""All sessions that are open on the server: the one that records, and those that wait for data."""

import logging
import time
from pathlib import Path

from capture_protocol import InputError, SessionFolder, SessionPlan
from capture_protocol.session import EVENTS_FOLDER
from control_server.session.counter import session_folder, session_numbers
from control_server.session.notes import NotesFolder, SessionNotes
from control_server.session.run import Phase, SessionRun, Tell

REMEMBERED = 100
"""How many of the newest sessions are looked at when the server starts or a node registers."""
_BUSY = (Phase.ARMED, Phase.RECORDING, Phase.DRAINING, Phase.SEALING)
_log = logging.getLogger(__name__)


class Sessions:
    """Open sessions by number."""

    def __init__(self, storage: Path, tell: Tell) -> None:
        self.open_runs: dict[int, SessionRun] = {}
        self._storage = storage
        self._complete: dict[int, frozenset[str]] = {}
        """Nodes of complete sessions that were looked at: they never change."""
        self._tell = tell

    def open_unsealed(self) -> None:
        """Take up every session that an earlier process left unsealed."""
        for number in session_numbers(self._storage)[-REMEMBERED:]:
            folder = session_folder(self._storage, number)
            if not folder.manifest_path.exists():
                self._open_folder(folder)

    async def create(self, plan: SessionPlan) -> SessionRun:
        """Publish a plan in the session's (existing) folder and open it."""
        await self._close_complete()
        folder = session_folder(self._storage, plan.session)
        make_folders(folder, plan)
        folder.write_plan(plan)
        return self._open(folder, plan)

    async def close(self) -> None:
        """Let go of all sessions."""
        for run in self.open_runs.values():
            await run.close()

    def current(self) -> SessionRun | None:
        """The session that is being recorded or completed, if one is."""
        now_ns = time.time_ns()
        busy = [run for run in self.open_runs.values() if run.phase(now_ns) in _BUSY]
        return max(busy, key=lambda run: run.plan.session, default=None)

    def recall(self, number: int) -> SessionRun | None:
        """A session that a node still has something of; opened again if it is incomplete."""
        run = self.open_runs.get(number)
        if run is not None:
            return run
        folder = session_folder(self._storage, number)
        manifest = folder.read_manifest()
        if manifest is None or manifest.complete:
            return None
        return self._open_folder(folder)

    def discardable(self, node: str) -> list[int]:
        """Sealed sessions of which a node need not keep anything."""
        newest = session_numbers(self._storage)[-REMEMBERED:]
        return [number for number in newest if node in self._settled_nodes(number)]

    def _settled_nodes(self, number: int) -> frozenset[str]:
        """Nodes of a sealed session whose cameras are all accounted for."""
        if number in self._complete:
            return self._complete[number]
        folder = session_folder(self._storage, number)
        try:
            manifest = folder.read_manifest()
            if manifest is None:
                return frozenset()
            nodes = settled_nodes(folder.read_plan(), NotesFolder(folder).read())
        except InputError as error:
            _log.error("session %d: %s", number, error)
            return frozenset()
        if manifest.complete:
            self._complete[number] = nodes
        return nodes

    async def _close_complete(self) -> None:
        now_ns = time.time_ns()
        for number, run in list(self.open_runs.items()):
            if run.phase(now_ns) is Phase.COMPLETE:
                del self.open_runs[number]
                await run.close()

    def _open_folder(self, folder: SessionFolder) -> SessionRun | None:
        try:
            plan = folder.read_plan()
            make_folders(folder, plan)
            return self._open(folder, plan)
        except InputError as error:
            _log.error("session folder %s is passed over: %s", folder.path.name, error)
            return None

    def _open(self, folder: SessionFolder, plan: SessionPlan) -> SessionRun:
        run = SessionRun(folder, plan, self._tell)
        self.open_runs[plan.session] = run
        run.open()
        return run


def make_folders(folder: SessionFolder, plan: SessionPlan) -> None:
    """All folders of a session."""
    NotesFolder(folder).path.mkdir(exist_ok=True)
    (folder.path / EVENTS_FOLDER).mkdir(exist_ok=True)
    for camera in plan.cameras:
        folder.video(camera.name).mkdir(parents=True, exist_ok=True)


def settled_nodes(plan: SessionPlan, notes: SessionNotes) -> frozenset[str]:
    """Nodes all of whose cameras were settled when the session was sealed."""
    open_nodes = {camera.node for camera in plan.cameras if camera.name not in notes.settled}
    return frozenset(camera.node for camera in plan.cameras) - open_nodes
