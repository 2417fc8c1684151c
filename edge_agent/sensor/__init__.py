"""The simulated image sensor: the physics of a Pi camera that nobody triggers.

A sensor is a pure object: it reads no clock and never sleeps. It is told when a request was
queued and asked which frames are complete, both in monotonic ns, so the same object runs hours
in seconds on a virtual clock, and in real time under a loop that waits for `next_completion_ns`::

    mode = sensor_mode("imx708-2304")
    sensor = FreeRunningSensor(mode, SensorPhysics(ppm=20.0), seed=1, start_ns=now)
    sensor.queue_request(now, Request(FrameDurationLimits(33_333, 33_333), exposure_ns=1_000_000))
    for frame in sensor.advance(now):    # Frame records, in order, complete up to `now`
        ...

Every complete frame takes the oldest request that is queued; a frame that finds none is lost.
`TriggeredSensor` has the same two calls, but a request *is* the trigger: its exposure starts
when the request is queued.

What a `Frame` reports is what libcamera would (stamp, exposure, duration: with noise and
quantisation); its `true_*` fields are the physics, for the optical clock and for tests only.
"""

from edge_agent.sensor.frame import Frame, FrameDurationLimits, Request
from edge_agent.sensor.free_running import FreeRunningSensor
from edge_agent.sensor.modes import MODES, SensorMode, own_modes, sensor_mode
from edge_agent.sensor.physics import SensorPhysics
from edge_agent.sensor.triggered import TriggeredSensor

__all__ = [
    "MODES",
    "Frame",
    "FrameDurationLimits",
    "FreeRunningSensor",
    "Request",
    "SensorMode",
    "SensorPhysics",
    "TriggeredSensor",
    "own_modes",
    "sensor_mode",
]
