"""A camera's genlock on a virtual clock: hours in seconds, the same calls as in real time."""

from collections.abc import Iterator
from typing import NamedTuple

from capture_protocol.grid import Grid
from edge_agent.genlock.controller import Genlock
from edge_agent.genlock.report import PhaseReport
from edge_agent.sensor import Frame, FreeRunningSensor, Request

_QUEUE_DEPTH = 3  # requests kept ahead, so that the queue never runs empty while pulling


class Rehearsed(NamedTuple):
    """One frame, the slot it fell on by its own stamp, and what the genlock said of it."""

    frame: Frame
    slot: int
    report: PhaseReport
    true_error_ns: int
    """True exposure midpoint of the middle row minus the nearest Tn."""


def rehearse(
    sensor: FreeRunningSensor,
    genlock: Genlock,
    grid: Grid,
    *,
    slots: int,
    exposure_ns: int = 4_000_000,
    queue_depth: int = _QUEUE_DEPTH,
) -> Iterator[Rehearsed]:
    """Release requests at the slots 0 .. ``slots`` of a grid on the sensor's clock.

    Each release fills the queue up to its depth: one request as a rule, none after a frame was
    lost in the camera, or else every loss would lengthen the control delay for good. Frames are
    given to the genlock as they complete; a slot that brings none is coasted over. The sensor
    should start about when the grid does.
    """
    for slot in range(slots):
        release_ns = grid.time_ns(slot)
        frames = sensor.advance(release_ns)
        for frame in frames:
            yield _observe(frame, genlock, grid)
        if slot and not frames:
            genlock.coast()
        while sensor.queued < queue_depth:
            command = genlock.command()
            sensor.queue_request(release_ns, Request(command.limits, exposure_ns, command.cookie))


def _observe(frame: Frame, genlock: Genlock, grid: Grid) -> Rehearsed:
    slot = grid.nearest_slot(genlock.midpoint_ns(frame))
    report = genlock.observe(frame, grid.time_ns(slot))
    truth_ns = frame.true_midpoint_ns(1, 2)
    return Rehearsed(frame, slot, report, truth_ns - grid.time_ns(grid.nearest_slot(truth_ns)))
