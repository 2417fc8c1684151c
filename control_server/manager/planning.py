"""The plan of a session: what a request and rig.toml come to. Pure."""

import time
from fractions import Fraction

from capture_protocol import (
    DatagramCodec,
    Grid,
    InputError,
    RigConfig,
    SessionPlan,
    Start,
    StartFlag,
)
from capture_protocol.grid import NS_PER_S
from capture_protocol.session import PlannedCamera
from control_server.manager.requests import StartRequest

MS = 1_000_000
MIN_LEAD_NS = 200 * MS
"""A t0 closer than this cannot reach the agents in time."""


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


def make_plan(
    rig: RigConfig, codec: DatagramCodec, number: int, request: StartRequest, *, forced: bool
) -> SessionPlan:
    """Everything fixed about a session, START datagram included.

    Args:
        rig: the rig.
        codec: signs the START.
        number: the session's number.
        request: what the operator asked for; its t0 was checked.
        forced: the preflight complained: agents mark every frame.
    """
    now_ns = time.time_ns()
    rate = rig.session.frame_rate
    frames = wanted_frames(request, rate)
    start = Start(
        number,
        request.at_ns or epoch_slot(now_ns + rig.session.lead_ms * MS, rate),
        rate,
        rig.session.gop,
        rig.session.segment_slots,
        StartFlag.FORCED if forced else StartFlag.NONE,
        frames or 0,
    )
    return SessionPlan(
        session=number,
        rig_name=rig.name,
        rig_id=rig.id,
        t0_ns=start.t0_ns,
        rate_num=rate.numerator,
        rate_den=rate.denominator,
        gop=start.gop,
        segment_slots=start.segment_slots,
        container=rig.session.container,
        forced=forced,
        frames=frames,
        drain_timeout_s=rig.session.drain_timeout_s,
        start_datagram=codec.encode(start, now_ns).hex(),
        cameras=planned_cameras(rig),
        audit=rig.audit,
    )


def planned_cameras(rig: RigConfig) -> list[PlannedCamera]:
    """All cameras of the rig, in its order."""
    return [
        PlannedCamera(
            name=camera.name,
            index=index,
            node=node.name,
            stream_port=rig.server.stream_port + index,
            config=camera,
        )
        for index, node, camera in rig.cameras()
    ]


def wanted_frames(request: StartRequest, rate: Fraction) -> int | None:
    """Slots that a request asks for; None: until stopped."""
    if request.duration_s is None:
        return request.frames
    return max(1, round(request.duration_s * rate))


def epoch_slot(time_ns: int, rate: Fraction) -> int:
    """The next instant of the grid that counts from the Unix epoch.

    Idle cameras are locked to that grid, so a session that starts on it starts in lock.
    """
    epoch = Grid(0, rate)
    return epoch.time_ns(epoch.next_slot(time_ns))
