"""What goes on, for `manager status`: put together from the server's parts, no I/O of its own."""

import os
import time
from collections import Counter
from collections.abc import Iterator

from capture_protocol import LockState
from capture_protocol.control import CameraHealth
from capture_protocol.grid import NS_PER_S
from control_server.fleet.nodes import Fleet, NodeView
from control_server.manager.preflight import source_name
from control_server.manager.requests import CameraStatus, NodeStatus, SessionStatus, Status
from control_server.rig.place import RigPlace
from control_server.segmenter.admission import MIB, free_bytes
from control_server.session.run import Phase, SessionRun


def status(
    place: RigPlace,
    fleet: Fleet,
    run: SessionRun | None,
    refused_peers: dict[str, int],
    started_ns: int,
    last_session: int,
) -> Status:
    """The whole picture.

    Args:
        place: the rig.
        fleet: its nodes.
        run: the session to show, None if none is open.
        refused_peers: counts by reason.
        started_ns: `CLOCK_MONOTONIC` when the process started.
        last_session: the newest session's number, 0 if there is none.
    """
    now_ns = time.monotonic_ns()
    server = place.config.server
    free = free_bytes(place.storage)
    cameras = [_camera(place, camera, view, run) for camera, view in fleet.cameras()]
    return Status(
        rig=place.config.name,
        pid=os.getpid(),
        uptime_s=(now_ns - started_ns) / NS_PER_S,
        listen=server.listen,
        control_port=server.control_port,
        supervisor=place.config.segmenter.supervisor,
        storage=str(place.storage),
        free_bytes=free,
        session=_session(run, cameras) if run else None,
        last_session=last_session,
        nodes=[_node(view, now_ns) for view in fleet.nodes.values()],
        cameras=cameras,
        refused_peers=refused_peers,
        refused_datagrams=_refused_datagrams(fleet),
        advice=list(_advice(place, fleet, run, free, now_ns)),
    )


def _session(run: SessionRun, cameras: list[CameraStatus]) -> SessionStatus:
    plan, now_ns = run.plan, time.time_ns()
    slot = max(plan.grid.next_slot(now_ns) - 1, 0)
    if run.last_slot is not None:
        slot = min(slot, run.last_slot)
    errors_us = [camera.phase_error_us for camera in cameras if camera.phase_error_us is not None]
    return SessionStatus(
        session=plan.session,
        phase=run.phase(now_ns),
        t0_ns=plan.t0_ns,
        rate=str(plan.rate),
        slot_now=slot,
        elapsed_s=min(max(now_ns - plan.t0_ns, 0), plan.grid.offset_ns(slot + 1)) / NS_PER_S,
        last_slot=run.last_slot,
        segments=sum(len(account.segments) for account in run.intake.accounts.values()),
        skew_estimate_us=max(errors_us) - min(errors_us) if len(errors_us) > 1 else None,
        waiting_for=[run.why_unsettled(camera) for camera in run.unsettled()]
        if run.phase(now_ns) in (Phase.DRAINING, Phase.INCOMPLETE)
        else [],
        problem=run.problem,
        folder=str(run.folder.path),
    )


def _camera(place: RigPlace, camera: str, view: NodeView, run: SessionRun | None) -> CameraStatus:
    health = view.health(camera) or CameraHealth(camera=camera)
    index = next(index for index, _, config in place.config.cameras() if config.name == camera)
    account = run.intake.accounts.get(camera) if run else None
    words = run.intake.last_words(camera) if run and account else ""
    error_ns = health.phase_error_ns
    return CameraStatus(
        camera=camera,
        node=view.name,
        stream_port=place.config.server.stream_port + index,
        lock=LockState(health.lock).name.lower(),
        phase_error_us=None if error_ns is None else error_ns / 1000,
        delivered=account.frames if account else 0,
        sent=health.sent_slot + 1,
        captured=health.captured,
        lost=health.lost,
        late=account.late if account else 0,
        spool_bytes=health.spool_bytes,
        connected=bool(run and run.intake.lives.get(camera)),
        parts=len(account.parts) if account else 0,
        segments=len(account.segments) if account else 0,
        problem=health.problem or words,
    )


def _node(view: NodeView, now_ns: int) -> NodeStatus:
    age_ns = view.age_ns(now_ns)
    beat = view.heartbeat
    return NodeStatus(
        node=view.name,
        heard=view.is_heard(now_ns),
        heartbeat_age_s=None if age_ns is None else age_ns / NS_PER_S,
        state=view.state.name.lower() if view.registered else "unknown",
        session=view.session,
        clock_source=source_name(beat.clock.source) if beat else "unknown",
        clock_offset_ns=beat.clock.offset_ns if beat else 0,
        clock_uncertainty_ns=beat.clock.uncertainty_ns if beat else 0,
        clock_problem=beat.clock.problem if beat else "",
        release_mode=beat.release_mode if beat else "",
        refused=dict(beat.refused) if beat else {},
        software=view.registered.software if view.registered else "",
    )


def _refused_datagrams(fleet: Fleet) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for view in fleet.nodes.values():
        counts.update(view.heartbeat.refused if view.heartbeat else {})
    return dict(counts)


def _advice(
    place: RigPlace, fleet: Fleet, run: SessionRun | None, free: int, now_ns: int
) -> Iterator[str]:
    reserve_mb = place.config.server.reserve_mb
    if free <= reserve_mb * MIB:
        yield (
            f"the storage is full: {free // MIB} MB free, {reserve_mb} MB are kept in reserve. "
            f"Agents keep their frames: make room in {place.storage}, recording goes on by itself"
        )
    if run and run.problem:
        yield run.problem
    for node in fleet.silent(now_ns):
        yield f"node {node} is silent: see that its agent runs and reaches this server"
