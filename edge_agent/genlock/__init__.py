"""Genlock: steer a free-running sensor until its exposures fall on the grid, and keep it there.

A `Genlock` is a pure object, one per camera. It reads no clock and does no I/O, so the simulated
sensor and a real camera are driven by the same code::

    genlock = Genlock(mode, rate_hz=Fraction(30))     # HeadroomError names the rate that works

    command = genlock.command()                       # once per request, as it is queued
    request = Request(command.limits, exposure_ns, command.cookie)

    slot_ns = grid.nearest(genlock.midpoint_ns(frame))    # Tn of a near slot, monotonic ns
    report = genlock.observe(frame, slot_ns)          # once per delivered frame
    report = genlock.coast()                          # once per slot that brought no frame

`report.state` is the camera's lock state, `report.phase_error_ns` the exposure midpoint of the
middle row minus Tn, `report.uncertainty_ns` the 99 % bound of that estimate's error, and
`report.frame_start_ns` the stamp freed from its jitter. A frame is anything with ``sequence,
cookie, frame_start_ns, exposure_ns, frame_duration_ns`` (see `ObservedFrame`); ``cookie`` is
that of the command whose request the frame fills, in the order of the commands.

`rehearse` runs all of this on a virtual clock, as the agent does in real time.
The estimator and its numbers are explained in docs/genlock.md.
"""

from capture_protocol.frame import LockState
from edge_agent.genlock.controller import Genlock
from edge_agent.genlock.headroom import HeadroomError, check_headroom, fastest_safe_rate_hz
from edge_agent.genlock.rehearsal import Rehearsed, rehearse
from edge_agent.genlock.report import Command, ObservedFrame, PhaseReport

__all__ = [
    "Command",
    "Genlock",
    "HeadroomError",
    "LockState",
    "ObservedFrame",
    "PhaseReport",
    "Rehearsed",
    "check_headroom",
    "fastest_safe_rate_hz",
    "rehearse",
]
