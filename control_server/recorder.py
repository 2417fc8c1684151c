"""Starts and stops sessions: preflight, number, plan, START, confirmation; STOP, sealing."""

import asyncio
import time
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any

from capture_protocol import (
    AgentState,
    DatagramCodec,
    InputError,
    SessionPlan,
    Start,
    StartFlag,
    Stop,
)
from capture_protocol.control import Registered
from capture_protocol.grid import NS_PER_S
from capture_protocol.session import PlannedCamera
from control_server.admission import free_bytes
from control_server.announcer import Acknowledgements, Address, Announcer
from control_server.command_link import Progress
from control_server.completion import has_video
from control_server.counter import take_number
from control_server.errors import RigError
from control_server.fleet import Fleet
from control_server.place import RigPlace
from control_server.preflight import Surroundings, preflight
from control_server.requests import CameraResult, Check, Preflight, Started, StartRequest, Stopped
from control_server.session_run import SessionRun, Tell
from control_server.sessions import Sessions

MS = 1_000_000
REGISTER_WAIT_S = 6.0
"""Agents find a manager that has just started within this time; then they count as silent."""
MIN_LEAD_NS = 200 * MS
"""A t0 closer than this cannot reach the agents in time."""
REPEAT_MARGIN_NS = 100 * MS
"""START is repeated until this long before t0; whoever misses it joins through the link."""
CONFIRM_S = 10.0
"""After t0, video must have appeared on every camera within this time."""
STOP_LEAD_NS = 500 * MS
"""From `manager stop` to the last slot: time for STOP to reach every agent."""
EARLY_STOP_NS = 3 * NS_PER_S
"""A session of known length gets its STOP this long before its last slot."""
STOP_REPEAT_S = 20.0
"""STOP is repeated by UDP this long (it goes stale at 30 s), then through the link."""
LINK_REPEAT_S = 1.0
POLL_S = 0.05


@dataclass
class Recorder:
    """Steers the rig; one session at a time."""

    place: RigPlace
    fleet: Fleet
    sessions: Sessions
    announcer: Announcer
    tell: Tell
    _starting: asyncio.Lock = field(default_factory=asyncio.Lock)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def codec(self) -> DatagramCodec:
        """Signs the rig's datagrams."""
        return DatagramCodec(self.place.config.rig_id, self.place.rig_key)

    async def close(self) -> None:
        """End all repetition."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def resume(self) -> None:
        """Go on with the sessions that an earlier process left: nothing is sent twice in vain."""
        for run in self.sessions.open_runs.values():
            if run.last_slot is None:
                self._watch_length(run)
            elif run.manifest is None:
                self._spawn(self._deliver_stop(run))

    async def check(self) -> Preflight:
        """The preflight, after agents had time to find us."""
        await self._wait_for_nodes(lambda _: None)
        return self._preflight()

    async def start(self, request: StartRequest, progress: Progress) -> Started:
        """Record a session; returns when video has appeared on every camera.

        Raises:
            InputError: t0 lies in the past.
            RigError: the preflight failed, or a camera does not record (named, with the reason).
        """
        check_lead(request.at_ns)
        async with self._starting:
            await self._wait_for_nodes(progress)
            self._require(self._preflight(), request.force)
            number = await asyncio.to_thread(take_number, self.place.storage)
            run = self.sessions.create(self._plan(number, request))
        progress(f"session {number}: START is sent, t0 in {self._until_t0_s(run):.1f} s")
        self.announcer.to_group(bytes.fromhex(run.plan.start_datagram))
        self._spawn(self._deliver_start(run))
        self._watch_length(run)
        await self._confirm(run, progress)
        return self._started(run)

    async def stop(self, progress: Progress) -> Stopped:
        """End the running session on one slot; returns when it is sealed.

        Raises:
            InputError: no session runs.
        """
        run = self.sessions.current()
        if run is None:
            raise InputError("no session is recording", hint="see: manager sessions")
        if run.last_slot is None:
            await self._give_stop(run, self._stop_slot(run))
        while run.manifest is None:
            progress(self._waiting(run))
            try:
                async with asyncio.timeout(1.0):
                    await run.wait_for(lambda: run.manifest is not None)
            except TimeoutError:
                continue
        return stopped(run)

    # --- start

    async def _wait_for_nodes(self, progress: Progress) -> None:
        deadline = time.monotonic() + REGISTER_WAIT_S
        told = False
        while (silent := self.fleet.silent(time.monotonic_ns())) and time.monotonic() < deadline:
            if not told:
                progress(f"waiting for {', '.join(silent)}")
                told = True
            await asyncio.sleep(POLL_S)
        while self._unready() and time.monotonic() < deadline:
            await asyncio.sleep(POLL_S)

    def _unready(self) -> bool:
        """Whether a node has yet to tell its health, or to notice that its session is over."""
        now_ns, busy = time.monotonic_ns(), self.sessions.current() is not None
        return any(
            view.is_heard(now_ns)
            and (view.heartbeat is None or (view.state != AgentState.IDLE and not busy))
            for view in self.fleet.nodes.values()
        )

    def _preflight(self) -> Preflight:
        current = self.sessions.current()
        around = Surroundings(
            now_ns=time.monotonic_ns(),
            free_bytes=free_bytes(self.place.storage),
            storage=str(self.place.storage),
            running_session=current.plan.session if current else 0,
        )
        return preflight(self.place.config, self.fleet, around)

    def _require(self, found: Preflight, force: bool) -> None:
        failed = [check for check in found.failed if not (force and check.forcible)]
        if failed:
            raise _preflight_error(failed)
        if len(self.fleet.silent(time.monotonic_ns())) == len(self.fleet.nodes):
            raise RigError("no node of the rig is heard", hint="start the agents")

    def _plan(self, number: int, request: StartRequest) -> SessionPlan:
        rig = self.place.config
        t0_ns = request.at_ns or _whole_ms(time.time_ns() + rig.session.lead_ms * MS)
        rate = rig.session.frame_rate
        forced = bool(self._preflight_complaints())
        start = Start(
            number,
            t0_ns,
            rate,
            rig.session.gop,
            rig.session.segment_slots,
            StartFlag.FORCED if forced else StartFlag.NONE,
        )
        return SessionPlan(
            session=number,
            rig_name=rig.name,
            rig_id=rig.id,
            t0_ns=t0_ns,
            rate_num=rate.numerator,
            rate_den=rate.denominator,
            gop=start.gop,
            segment_slots=start.segment_slots,
            container=rig.session.container,
            forced=forced,
            frames=wanted_frames(request, start),
            drain_timeout_s=rig.session.drain_timeout_s,
            start_datagram=self.codec.encode(start, time.time_ns()).hex(),
            cameras=[
                PlannedCamera(
                    name=camera.name,
                    index=index,
                    node=node.name,
                    stream_port=rig.server.stream_port + index,
                    config=camera,
                )
                for index, node, camera in rig.cameras()
            ],
            audit=rig.audit,
        )

    def _preflight_complaints(self) -> list[Check]:
        return self._preflight().failed

    async def _deliver_start(self, run: SessionRun) -> None:
        datagram = bytes.fromhex(run.plan.start_datagram)
        limit_ns = run.plan.t0_ns - REPEAT_MARGIN_NS
        await self.announcer.repeat(
            datagram, run.start_acks, self._addresses, lambda: time.time_ns() > limit_ns
        )
        while run.start_acks.missing and run.last_slot is None:
            self._tell_missing(run, run.start_acks)
            await asyncio.sleep(LINK_REPEAT_S)

    async def _confirm(self, run: SessionRun, progress: Progress) -> None:
        missing = {camera.name for camera in run.plan.cameras}
        deadline_ns = run.plan.t0_ns + int(CONFIRM_S * NS_PER_S)
        while missing - self._refusing(run) and time.time_ns() < deadline_ns:
            await asyncio.sleep(POLL_S)
            for camera in sorted(missing):
                if has_video(run.folder, camera):
                    missing.discard(camera)
                    progress(f"{camera} records")
        if missing:
            raise _confirm_error(run, [self._why_not(run, camera) for camera in sorted(missing)])

    def _refusing(self, run: SessionRun) -> set[str]:
        """Cameras of nodes that refused START."""
        refused = run.start_acks.refused
        return {camera.name for camera in run.plan.cameras if camera.node in refused}

    def _why_not(self, run: SessionRun, camera: str) -> str:
        node = run.plan.camera(camera).node
        view = self.fleet.nodes.get(node)
        health = view.health(camera) if view else None
        if node in run.start_acks.refused:
            return f"{camera}: {node} refused START: {run.start_acks.refused[node]}"
        if view is None or not view.is_heard(time.monotonic_ns()):
            return f"{camera}: {node} is silent"
        if node in run.start_acks.missing:
            return f"{camera}: {node} did not acknowledge START"
        words = run.intake.last_words(camera)
        problem = health.problem if health and health.problem else words
        return f"{camera}: {problem or 'no video came'}"

    def _started(self, run: SessionRun) -> Started:
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

    # --- stop

    def _watch_length(self, run: SessionRun) -> None:
        if run.plan.frames is not None:
            self._spawn(self._stop_in_time(run, run.plan.frames - 1))

    async def _stop_in_time(self, run: SessionRun, last_slot: int) -> None:
        stop_ns = run.plan.grid.time_ns(last_slot) - EARLY_STOP_NS
        while run.start_acks.missing and time.time_ns() < run.plan.t0_ns:
            await asyncio.sleep(POLL_S)  # STOP before START would be for an unknown session
        while (left_ns := stop_ns - time.time_ns()) > 0:
            await asyncio.sleep(min(left_ns / NS_PER_S, 1.0))  # short: the clock may be stepped
        if run.last_slot is None:
            await self._give_stop(run, last_slot)

    def _stop_slot(self, run: SessionRun) -> int:
        slot = run.plan.grid.next_slot(time.time_ns() + STOP_LEAD_NS)
        return slot if run.plan.frames is None else min(slot, run.plan.frames - 1)

    async def _give_stop(self, run: SessionRun, last_slot: int) -> None:
        datagram = self.codec.encode(Stop(run.plan.session, last_slot), time.time_ns())
        await run.set_stop(datagram, last_slot)
        self.announcer.to_group(datagram)
        self._spawn(self._deliver_stop(run))

    async def _deliver_stop(self, run: SessionRun) -> None:
        datagram = bytes.fromhex(run.keeper.current.stop_datagram)
        limit = time.monotonic() + STOP_REPEAT_S
        await self.announcer.repeat(
            datagram, run.stop_acks, self._addresses, lambda: time.monotonic() > limit
        )
        while run.stop_acks.missing and run.manifest is None:
            self._tell_missing(run, run.stop_acks)
            await asyncio.sleep(LINK_REPEAT_S)

    def _waiting(self, run: SessionRun) -> str:
        left_s = (run.plan.grid.time_ns(run.last_slot or 0) - time.time_ns()) / NS_PER_S
        if left_s > 0:
            return f"session {run.plan.session} ends with slot {run.last_slot} in {left_s:.1f} s"
        unsettled = run.unsettled()
        if unsettled:
            return "; ".join(run.why_unsettled(camera) for camera in unsettled)
        return f"session {run.plan.session} is being sealed"

    # --- both

    def _addresses(self, nodes: Iterable[str]) -> list[Address]:
        views = (self.fleet.nodes[node] for node in nodes if node in self.fleet.nodes)
        return [view.datagram_address for view in views if view.datagram_address]

    def _tell_missing(self, run: SessionRun, acknowledgements: Acknowledgements) -> None:
        for node in sorted(acknowledgements.missing):
            self.tell(node, self.registered(run))

    def registered(self, run: SessionRun | None) -> Registered:
        """What runs, for an agent that may have missed it."""
        if run is None:
            return Registered()
        return Registered(start=run.plan.start_datagram, stop=run.keeper.current.stop_datagram)

    def _until_t0_s(self, run: SessionRun) -> float:
        return (run.plan.t0_ns - time.time_ns()) / NS_PER_S

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def check_lead(at_ns: int | None) -> None:
    """Refuse a t0 that cannot be kept.

    Raises:
        InputError: it lies in the past, or so near that START cannot reach the agents.
    """
    if at_ns is None:
        return
    lead_ns = at_ns - time.time_ns()
    if lead_ns < MIN_LEAD_NS:
        when = "lies in the past" if lead_ns < 0 else "is too near"
        raise InputError(
            f"t0 {when}: {lead_ns / NS_PER_S:+.3f} s from now",
            hint="give a UTC at least a second ahead, or leave --at out",
        )


def wanted_frames(request: StartRequest, start: Start) -> int | None:
    """Slots that a request asks for."""
    if request.duration_s is None:
        return request.frames
    return max(1, round(request.duration_s * start.rate))


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


def _whole_ms(time_ns: int) -> int:
    """A t0 on a whole millisecond, for readers' sake."""
    return -(-time_ns // MS) * MS


def _preflight_error(failed: list[Check]) -> RigError:
    first = failed[0]
    more = f" (and {len(failed) - 1} more, see: manager preflight)" if len(failed) > 1 else ""
    error = RigError(f"{first.name}: {first.detail}{more}", hint=first.hint)
    error.exit_code = first.exit_code
    return error


def _confirm_error(run: SessionRun, reasons: list[str]) -> RigError:
    return RigError(
        f"session {run.plan.session} does not record on all cameras: {'; '.join(reasons)}",
        hint="the other cameras go on; end the session with: manager stop",
    )
