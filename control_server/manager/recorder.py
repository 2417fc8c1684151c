"""Starts and stops sessions: preflight, number, plan, START, confirmation; STOP, sealing."""

import asyncio
import time
from dataclasses import dataclass, field

from capture_protocol import AgentState, DatagramCodec, InputError, Stop
from capture_protocol.grid import NS_PER_S
from control_server.errors import RigError
from control_server.fleet.nodes import Fleet
from control_server.manager.command_link import Progress
from control_server.manager.confirmation import confirm
from control_server.manager.delivery import Delivery
from control_server.manager.planning import MS, check_lead, make_plan
from control_server.manager.preflight import Surroundings, preflight
from control_server.manager.requests import (
    CameraResult,
    Check,
    Preflight,
    Started,
    StartRequest,
    Stopped,
)
from control_server.manager.server_clock import judge_server_clock
from control_server.rig.place import RigPlace
from control_server.segmenter.admission import free_bytes
from control_server.session.counter import take_number
from control_server.session.run import Phase, SessionRun
from control_server.session.sessions import Sessions
from control_server.task_set import TaskSet

REGISTER_WAIT_S = 6.0
"""Agents find a manager that has just started within this time; then they count as silent."""
IDLE_WAIT_S = 3.0
"""A node needs about a heartbeat to notice that its session is over."""
STOP_LEAD_NS = 500 * MS
"""From `manager stop` to the last slot: time for STOP to reach every agent."""
EARLY_STOP_NS = 3 * NS_PER_S
"""A session of known length gets its STOP this long before its last slot."""
POLL_S = 0.05


@dataclass
class Recorder:
    """Steers the rig; one session at a time."""

    place: RigPlace
    fleet: Fleet
    sessions: Sessions
    delivery: Delivery
    _begun: float = field(default_factory=time.monotonic)
    _starting: asyncio.Lock = field(default_factory=asyncio.Lock)
    _tasks: TaskSet = field(default_factory=TaskSet)

    async def close(self) -> None:
        """End all repetition."""
        await self._tasks.close()

    def resume(self) -> None:
        """Go on with the sessions that an earlier process left open."""
        for run in self.sessions.open_runs.values():
            if run.last_slot is None:
                self._watch_length(run)
            elif run.manifest is None:
                self._tasks.spawn(self.delivery.stop(run))

    async def check(self) -> Preflight:
        """The preflight, after agents had time to find us."""
        return await self._preflight(lambda _: None)

    async def start(self, request: StartRequest, progress: Progress) -> Started:
        """Record a session; returns when video has appeared on every camera.

        Raises:
            InputError: t0 lies in the past.
            RigError: the preflight failed, or a camera does not record (named, with the reason).
        """
        check_lead(request.at_ns)
        async with self._starting:
            run = await self._open_session(request, progress)
        until_t0_s = (run.plan.t0_ns - time.time_ns()) / NS_PER_S
        progress(f"session {run.plan.session}: START is sent, t0 in {until_t0_s:.1f} s")
        self._tasks.spawn(self.delivery.start(run))
        self._watch_length(run)
        await confirm(run, self.fleet, progress)
        return started(run)

    async def stop(self, progress: Progress) -> Stopped:
        """End the running session on one slot; returns when it is sealed.

        Raises:
            InputError: no session runs.
        """
        run = self.sessions.current()
        if run is None:
            raise InputError("no session is recording", hint="see: manager sessions")
        if run.last_slot is None:
            await self._give_stop(run, _stop_slot(run))
        while run.manifest is None:
            progress(_waiting(run))
            try:
                async with asyncio.timeout(1.0):
                    await run.wait_for(lambda: run.manifest is not None)
            except TimeoutError:
                continue
        return stopped(run)

    async def _open_session(self, request: StartRequest, progress: Progress) -> SessionRun:
        complaints = (await self._preflight(progress)).failed
        self._require(complaints, request.force)
        number = await asyncio.to_thread(take_number, self.place.storage)
        plan = make_plan(self.place.config, self._codec(), number, request, forced=bool(complaints))
        return await self.sessions.create(plan)

    async def _wait_for_nodes(self, progress: Progress) -> None:
        silent = self.fleet.silent(time.monotonic_ns())
        while silent and time.monotonic() < self._begun + REGISTER_WAIT_S:
            progress(f"waiting for {', '.join(silent)}")
            await asyncio.sleep(POLL_S)
            silent = self.fleet.silent(time.monotonic_ns())
        deadline = time.monotonic() + IDLE_WAIT_S
        while not self._is_ready() and time.monotonic() < deadline:
            await asyncio.sleep(POLL_S)

    def _is_ready(self) -> bool:
        """Whether heard nodes have told their health, and none is busy with a session's end."""
        current = self.sessions.current()
        if current is not None and current.phase(time.time_ns()) in (Phase.ARMED, Phase.RECORDING):
            return True  # no use in waiting
        now_ns = time.monotonic_ns()
        return current is None and all(
            view.heartbeat is not None and view.state == AgentState.IDLE
            for view in self.fleet.nodes.values()
            if view.is_heard(now_ns)
        )

    async def _preflight(self, progress: Progress) -> Preflight:
        clock, _ = await asyncio.gather(
            judge_server_clock(self.place.config), self._wait_for_nodes(progress)
        )
        current = self.sessions.current()
        around = Surroundings(
            now_ns=time.monotonic_ns(),
            free_bytes=free_bytes(self.place.storage),
            storage=str(self.place.storage),
            running_session=current.plan.session if current else 0,
            clock=clock,
        )
        return preflight(self.place.config, self.fleet, around)

    def _require(self, complaints: list[Check], force: bool) -> None:
        failed = [check for check in complaints if not (force and check.forcible)]
        if failed:
            raise _preflight_error(failed)
        if len(self.fleet.silent(time.monotonic_ns())) == len(self.fleet.nodes):
            raise RigError("no node of the rig is heard", hint="start the agents")

    def _codec(self) -> DatagramCodec:
        return DatagramCodec(self.place.config.rig_id, self.place.rig_key)

    def _watch_length(self, run: SessionRun) -> None:
        if run.plan.frames is not None:
            self._tasks.spawn(self._stop_in_time(run, run.plan.frames - 1))

    async def _stop_in_time(self, run: SessionRun, last_slot: int) -> None:
        stop_ns = run.plan.grid.time_ns(last_slot) - EARLY_STOP_NS
        while run.start_acks.missing and time.time_ns() < run.plan.t0_ns:
            await asyncio.sleep(POLL_S)  # STOP before START would be for an unknown session
        while (left_ns := stop_ns - time.time_ns()) > 0:
            await asyncio.sleep(min(left_ns / NS_PER_S, 1.0))  # short: the clock may be stepped
        if run.last_slot is None:
            await self._give_stop(run, last_slot)

    async def _give_stop(self, run: SessionRun, last_slot: int) -> None:
        datagram = self._codec().encode(Stop(run.plan.session, last_slot), time.time_ns())
        await run.set_stop(datagram, last_slot)
        self._tasks.spawn(self.delivery.stop(run))


def started(run: SessionRun) -> Started:
    """The result of a start."""
    plan = run.plan
    return Started(
        session=plan.session,
        t0_ns=plan.t0_ns,
        rate=str(plan.rate),
        frames=plan.frames,
        cameras=[camera.name for camera in plan.cameras],
        folder=str(run.folder.path),
        forced=plan.forced,
    )


def stopped(run: SessionRun) -> Stopped:
    """The result of a sealed session."""
    manifest = run.manifest
    if manifest is None:
        raise RigError(f"session {run.plan.session} is not sealed yet")
    return Stopped(
        session=manifest.session,
        last_slot=manifest.last_slot,
        complete=manifest.complete,
        reason=manifest.reason,
        folder=str(run.folder.path),
        cameras=[
            CameraResult(
                camera=entry.name,
                frames=entry.frames,
                missing=sum(last - first + 1 for first, last in entry.missing),
                parts=entry.parts,
            )
            for entry in manifest.cameras
        ],
    )


def _stop_slot(run: SessionRun) -> int:
    """Where a session that is stopped now ends."""
    slot = run.plan.grid.next_slot(time.time_ns() + STOP_LEAD_NS)
    return slot if run.plan.frames is None else min(slot, run.plan.frames - 1)


def _waiting(run: SessionRun) -> str:
    """What `manager stop` waits for."""
    left_s = (run.plan.grid.time_ns(run.last_slot or 0) - time.time_ns()) / NS_PER_S
    if left_s > 0:
        return f"session {run.plan.session} ends with slot {run.last_slot} in {left_s:.1f} s"
    if run.problem:
        return run.problem
    unsettled = run.unsettled()
    if unsettled:
        return "; ".join(run.why_unsettled(camera) for camera in unsettled)
    return f"session {run.plan.session} is being sealed"


def _preflight_error(failed: list[Check]) -> RigError:
    first = failed[0]
    more = f" (and {len(failed) - 1} more, see: manager preflight)" if len(failed) > 1 else ""
    error = RigError(f"{first.name}: {first.detail}{more}", hint=first.hint)
    error.exit_code = first.exit_code
    return error
