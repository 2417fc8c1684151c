"""Whether a session could start now: findings from what is known, no I/O of its own."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from capture_protocol import AgentState, ClockSource, RigConfig
from capture_protocol.control import ClockFinding
from control_server.fleet.nodes import Fleet, NodeView
from control_server.manager.requests import Check, Preflight
from control_server.segmenter.admission import MIB

ENVIRONMENT = 4
SERVER = "server"
Verdict = Literal["ok", "warning", "failed"]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the preflight looks at besides the fleet."""

    now_ns: int
    """`CLOCK_MONOTONIC`."""
    free_bytes: int
    storage: str
    running_session: int
    """0 if none runs."""
    clock: Sequence[ClockFinding] = ()
    """On the server's own clock; empty if the rig does not live by it."""


def preflight(rig: RigConfig, fleet: Fleet, around: Surroundings) -> Preflight:
    """All findings, the server's own first."""
    checks = [_session(around), _storage(rig, around)]
    checks += [_clock_point(SERVER, finding) for finding in around.clock]
    for view in fleet.nodes.values():
        checks += _node(view, around.now_ns)
    return Preflight(checks=checks)


def _session(around: Surroundings) -> Check:
    running = around.running_session
    return Check(
        where=SERVER,
        point="session",
        verdict=_verdict(not running),
        detail=f"session {running} is recording" if running else "no session runs",
        hint="end it with: manager stop" if running else "",
        forcible=False,
    )


def _storage(rig: RigConfig, around: Surroundings) -> Check:
    free_mb, reserve_mb = around.free_bytes // MIB, rig.server.reserve_mb
    return Check(
        where=SERVER,
        point="storage",
        verdict=_verdict(free_mb > reserve_mb),
        detail=f"{free_mb} MB free in {around.storage}, {reserve_mb} MB are kept in reserve",
        hint="" if free_mb > reserve_mb else "make room, or change server.storage in rig.toml",
        exit_code=ENVIRONMENT,
        forcible=False,
    )


def _node(view: NodeView, now_ns: int) -> Iterator[Check]:
    heard = view.is_heard(now_ns)
    yield Check(
        where=view.name,
        point="heard",
        verdict=_verdict(heard),
        detail="heartbeats come" if heard else _silence(view, now_ns),
        hint="" if heard else "start its agent: systemctl start edge-agent, on the node",
    )
    if not heard:
        return
    idle = view.state == AgentState.IDLE
    yield Check(
        where=view.name,
        point="idle",
        verdict=_verdict(idle),
        detail=view.state.name.lower() + ("" if idle else f" in session {view.session}"),
        hint="" if idle else "wait until it has drained, see manager status --watch",
    )
    yield _clock(view)
    for finding in view.heartbeat.clock.findings if view.heartbeat else []:
        yield _clock_point(view.name, finding, "clock: ")
    yield from _cameras(view)


def _silence(view: NodeView, now_ns: int) -> str:
    age_ns = view.age_ns(now_ns)
    if age_ns is None:
        return "never heard since the manager's process started"
    return f"silent for {age_ns / 1e9:.0f} s"


def _clock(view: NodeView) -> Check:
    clock = view.heartbeat.clock if view.heartbeat else None
    if clock is None:
        return Check(
            where=view.name,
            point="clock",
            verdict="failed",
            detail="not told yet",
            hint="try again",
        )
    ok = not clock.problem and clock.source != ClockSource.UNKNOWN
    source = source_name(clock.source)
    detail = clock.problem or f"{source}, offset {clock.offset_ns} ns ± {clock.uncertainty_ns} ns"
    return Check(
        where=view.name,
        point="clock",
        verdict=_verdict(ok),
        detail=detail,
        hint=""
        if ok
        else "see: edge-agent check, on the node; or start --force to mark the frames",
    )


def _clock_point(where: str, finding: ClockFinding, prefix: str = "") -> Check:
    """What `edge-agent` found on one point of a clock's chain, with the mend."""
    return Check(
        where=where,
        point=f"{prefix}{finding.point}",
        verdict=finding.verdict,
        detail=finding.text,
        hint=finding.mend,
    )


def _cameras(view: NodeView) -> Iterator[Check]:
    told = view.registered.cameras if view.registered else []
    for camera in view.cameras:
        health = view.health(camera)
        problem = health.problem if health else ""
        if camera not in told:
            problem = "the agent does not know it: its node.toml is out of date"
        yield Check(
            where=view.name,
            point=f"camera {camera}",
            verdict=_verdict(not problem),
            detail=problem or "ready",
            hint="copy its bundle again (manager init writes it)" if camera not in told else "",
        )


def _verdict(ok: bool) -> Verdict:
    return "ok" if ok else "failed"


def source_name(source: int) -> str:
    """A `ClockSource` for people, also one that this version does not know."""
    try:
        return ClockSource(source).name.lower()
    except ValueError:
        return f"source {source}"
