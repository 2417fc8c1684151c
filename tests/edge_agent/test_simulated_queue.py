"""The simulated camera's queue of requests, and its hanging, on a virtual clock."""

from fractions import Fraction

import pytest

from capture_protocol.frame import LockState
from capture_protocol.grid import Grid
from edge_agent.camera.hanging import HangingCamera
from edge_agent.camera.simulated import _QUEUE_DEPTH, FreeRunningCamera
from edge_agent.sensor import SensorPhysics, sensor_mode

RATE = Fraction(30)
START_NS = 10**12
GRID = Grid(START_NS, RATE)


@pytest.fixture(autouse=True)
def virtual_start(monkeypatch):
    """The sensor begins at the virtual clock's start; all later instants are given by the test."""
    monkeypatch.setattr("edge_agent.camera.simulated.time.monotonic_ns", lambda: START_NS)


def free_running(**physics):
    settings = SensorPhysics(ppm=20.0, **physics)
    return FreeRunningCamera(sensor_mode("imx708-1536"), settings, seed=3, exposure_ns=4_000_000)


def drive(camera, slots):
    """Release slots as the capture loop does; yields (slot, frames before it) after each."""
    camera.follow(GRID)
    for slot in slots:
        camera.prepare(slot)
        now_ns = GRID.time_ns(slot)
        frames = camera.frames(now_ns)
        camera.release(slot, now_ns)
        yield slot, frames


def test_lost_frames_neither_lengthen_the_queue_nor_empty_it():
    camera = free_running(drop_probability=0.05)
    depths, sequences = [], []
    for slot, frames in drive(camera, range(1, 4000)):
        if slot > 1:
            depths.append(camera._sensor.queued)
        sequences += [frame.sequence for frame in frames]
    lost = sequences[-1] - sequences[0] + 1 - len(sequences)
    assert 100 < lost < 300
    assert set(depths) <= {_QUEUE_DEPTH - 1, _QUEUE_DEPTH}
    assert camera.lock_state == LockState.LOCKED


def test_a_stall_empties_the_queue_only_if_it_outlasts_it():
    camera = free_running()
    stall = _QUEUE_DEPTH - 1
    slots = [*range(1, 300), *range(300 + stall, 600)]
    sequences = [frame.sequence for _, frames in drive(camera, slots) for frame in frames]
    assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))
    assert camera._sensor.queued == _QUEUE_DEPTH


def test_a_request_that_found_no_room_is_the_next_one_queued():
    """No command of the genlock is thrown away: each comes back with a frame, in order."""
    camera = free_running(drop_probability=0.2)
    cookies = []
    observe = camera._observe

    def note(frame):
        cookies.append(frame.cookie)
        return observe(frame)

    camera._observe = note
    for _ in drive(camera, range(1, 600)):
        pass
    assert cookies == list(range(cookies[0], cookies[0] + len(cookies)))


@pytest.mark.parametrize("swallowed", [0, 1, 5])
def test_a_camera_hangs_even_if_a_stall_swallows_the_slot(swallowed):
    camera = HangingCamera(free_running(), 100)
    slots = [*range(1, 100), *range(100 + swallowed, 200)]
    last = max(slot for slot, frames in drive(camera, slots) if frames)
    assert last == 100 + swallowed
    assert camera.next_due_ns is None


def test_a_camera_that_was_opened_after_the_slot_does_not_hang():
    camera = HangingCamera(free_running(), 100)
    last = max(slot for slot, frames in drive(camera, range(150, 300)) if frames)
    assert last == 299
