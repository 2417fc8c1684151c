"""Confirms a start: video has appeared on every camera, or why it has not."""

import asyncio
import time

from capture_protocol.grid import NS_PER_S
from control_server.errors import RigError
from control_server.fleet.nodes import Fleet
from control_server.manager.command_link import Progress
from control_server.session.completion import has_video
from control_server.session.run import SessionRun

CONFIRM_S = 10.0
"""After t0, video must have appeared on every camera within this time."""
SILENT_S = 1.0
"""No longer than this after t0 is waited for cameras of nodes that are not heard."""
POLL_S = 0.05


async def confirm(run: SessionRun, fleet: Fleet, progress: Progress) -> None:
    """Return when a segment with video exists on every camera.

    Raises:
        RigError: a camera does not record, with the reason; the others go on.
    """
    missing = {camera.name for camera in run.plan.cameras}
    deadline_ns = run.plan.t0_ns + int(CONFIRM_S * NS_PER_S)
    silent_ns = run.plan.t0_ns + int(SILENT_S * NS_PER_S)
    while time.time_ns() < deadline_ns and missing - _refusing(run):
        if time.time_ns() > silent_ns and missing <= _silent(run, fleet):
            break
        await asyncio.sleep(POLL_S)
        for camera in sorted(missing):
            if has_video(run.folder, camera):
                missing.discard(camera)
                progress(f"{camera} records")
    if missing:
        reasons = "; ".join(why_not(run, fleet, camera) for camera in sorted(missing))
        raise RigError(
            f"session {run.plan.session} does not record on all cameras: {reasons}",
            hint="the other cameras go on; end the session with: manager stop",
        )


def why_not(run: SessionRun, fleet: Fleet, camera: str) -> str:
    """Why a camera has no video, as far as the server knows."""
    node = run.plan.camera(camera).node
    view = fleet.nodes.get(node)
    if node in run.start_acks.refused:
        return f"{camera}: {node} refused START: {run.start_acks.refused[node]}"
    if view is None or not view.is_heard(time.monotonic_ns()):
        return f"{camera}: {node} is silent"
    if node in run.start_acks.missing:
        return f"{camera}: {node} did not acknowledge START"
    health = view.health(camera)
    told = health.problem if health else ""
    return f"{camera}: {told or run.intake.last_words(camera) or 'no video came'}"


def _silent(run: SessionRun, fleet: Fleet) -> set[str]:
    """Cameras of nodes that are not heard."""
    silent = fleet.silent(time.monotonic_ns())
    return {camera.name for camera in run.plan.cameras if camera.node in silent}


def _refusing(run: SessionRun) -> set[str]:
    """Cameras of nodes that refused START."""
    refused = run.start_acks.refused
    return {camera.name for camera in run.plan.cameras if camera.node in refused}
