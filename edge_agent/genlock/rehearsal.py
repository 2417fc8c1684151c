"""A camera's genlock on a virtual clock: hours in seconds, the same calls as in real time."""

from collections.abc import Iterator
from typing import NamedTuple

from capture_protocol.grid import Grid
from edge_agent.genlock.controller import Genlock, PhaseReport
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
    """Release a request at every slot 0 .. ``slots`` of a grid on the sensor's clock.

    Frames are given to the genlock as they complete; a slot that brings none is coasted over.
    The sensor should start about when the grid does.
    """
    for _ in range(queue_depth):
        _release(sensor, genlock, grid.t0_ns, exposure_ns)
    for slot in range(slots):
        release_ns = grid.time_ns(slot)
        frames = sensor.advance(release_ns)
        for frame in frames:
            yield _observe(frame, genlock, grid)
        if not frames:
            genlock.coast()
        _release(sensor, genlock, release_ns, exposure_ns)


def _release(
    sensor: FreeRunningSensor, genlock: Genlock, release_ns: int, exposure_ns: int
) -> None:
    command = genlock.command()
    sensor.queue_request(release_ns, Request(command.limits, exposure_ns, command.cookie))


def _observe(frame: Frame, genlock: Genlock, grid: Grid) -> Rehearsed:
    slot = grid.nearest_slot(genlock.midpoint_ns(frame))
    report = genlock.observe(frame, grid.time_ns(slot))
    truth_ns = frame.true_midpoint_ns(1, 2)
    return Rehearsed(frame, slot, report, truth_ns - grid.time_ns(grid.nearest_slot(truth_ns)))
