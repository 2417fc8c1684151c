"""The picamera backend at picamera2's documented interface, on a virtual clock."""

import itertools
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from capture_protocol.errors import EnvironmentLackError, InputError
from capture_protocol.frame import LockState
from capture_protocol.frame import midpoint_ns as midpoint
from capture_protocol.grid import Grid
from capture_protocol.rig import NodeCamera
from edge_agent.camera import CameraError, CameraFrame, open_camera
from edge_agent.genlock import HeadroomError
from edge_agent.picamera import PicameraCamera, SharedPictures, list_cameras
from edge_agent.sensor import SensorPhysics
from tests.edge_agent.picamera_standin import OTHER_IDENT, PIPE_BYTES, World, install

T0_NS = 1_000_000_000_000
RATE = Fraction(30)
STEP_NS = 2_000_000  # between two looks at the camera


def config(**changes: Any) -> NodeCamera:
    wish = {"device": "0", "width": 640, "height": 360, "exposure_us": 4000, **changes}
    wish["options"] = {"mode": "imx708-2304", **wish.get("options", {})}
    return NodeCamera(name="cam0", backend="picamera", index=0, stream_port=7710, **wish)


class Bench:
    """A camera, its world, and the capture loop in small."""

    def __init__(self, world: World, camera: PicameraCamera) -> None:
        self.world, self.camera = world, camera
        self.grid = Grid(world.now_ns, RATE)
        self.slot = 1
        camera.follow(self.grid)

    @property
    def picam2(self) -> Any:
        return self.world.opened[-1]

    def run(
        self, slots: int, take: Callable[[CameraFrame], object] = lambda frame: None
    ) -> list[CameraFrame]:
        """Release so many slots; ``take`` sees each frame as it comes, as a worker does."""
        frames: list[CameraFrame] = []
        for _ in range(slots):
            release_ns = self.grid.time_ns(self.slot)
            now_ns = self.world.now_ns
            while now_ns < release_ns:
                now_ns = min(now_ns + STEP_NS, release_ns)
                self.picam2.run(now_ns)
                for frame in self.camera.frames(now_ns):
                    take(frame)
                    frames.append(frame)
            self.camera.prepare(self.slot)
            self.camera.release(self.slot, release_ns)
            self.slot += 1
        return frames

    def grid_errors_ns(self, frames: list[CameraFrame]) -> list[int]:
        middles = [
            midpoint(f.frame_start_ns, f.exposure_ns, f.line_time_ns, f.rows, f.sensor_delay_ns)
            for f in frames
        ]
        return [middle - self.grid.time_ns(self.grid.nearest_slot(middle)) for middle in middles]


@pytest.fixture
def make_bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    opened: list[PicameraCamera] = []

    def make(world: World | None = None, **changes: Any) -> Bench:
        world = world or World(T0_NS)
        install(monkeypatch, world)
        camera = open_camera(config(**changes), tmp_path)
        assert isinstance(camera, PicameraCamera)
        opened.append(camera)
        return Bench(world, camera)

    yield make
    for camera in opened:
        camera.close()


def test_sensor_is_steered_onto_the_grid(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench()
    bench.run(120)
    assert bench.camera.lock_state == LockState.LOCKED
    frames = bench.run(300)
    errors_ns = np.abs(bench.grid_errors_ns(frames))
    assert len(frames) == 300
    assert np.percentile(errors_ns, 99) < bench.camera._mode.line_time_ns
    slots = [bench.grid.nearest_slot(frame.frame_start_ns) for frame in frames]
    assert slots == list(range(slots[0], slots[0] + 300))


def test_commands_travel_with_requests_and_stay_within_libcameras_limits(
    make_bench: Callable[..., Bench],
) -> None:
    world = World(T0_NS)
    world.duration_limits_us = (25_000, 40_000)
    bench = make_bench(world)
    bench.run(200)
    assert len(bench.picam2.limits) > 200
    assert len(set(bench.picam2.limits)) > 3
    for least, greatest in bench.picam2.limits:
        assert least == greatest
        assert 25_000 <= least <= 40_000


def test_metadata_reaches_the_frame(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(exposure_us=2000, options={"delay_us": -12.5})
    frame = bench.run(60)[-1]
    assert frame.gain_milli == 2500
    assert frame.exposure_ns == pytest.approx(2_000_000, abs=14_000)
    assert frame.frame_duration_ns == pytest.approx(33_333_000, abs=200_000)
    assert frame.rows == 1296
    assert frame.line_time_ns == 13_361
    assert frame.sensor_delay_ns == -12_500
    assert 0 < frame.stamp_uncertainty_ns < 50_000
    bench.run(60)
    assert np.max(np.abs(bench.grid_errors_ns(bench.run(30)))) < 30_000  # delay is aimed at too


def test_exposure_is_fixed_and_libcameras_own_sync_is_off(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(exposure_us=1500, options={"gain": 3.0})
    assert bench.picam2.start_controls == {
        "AeEnable": False,
        "ExposureTime": 1500,
        "AnalogueGain": 3.0,
        "SyncMode": 0,
        "FrameDurationLimits": (33_333, 33_333),
    }


def test_nothing_is_queued_before_the_first_release(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench()
    assert bench.picam2.queued == []
    bench.camera.prepare(1)
    assert bench.picam2.queued == []
    bench.camera.release(1, bench.world.now_ns)
    assert len(bench.picam2.queued) == 4


def test_lost_frames_are_counted_and_leave_gaps_in_the_sequence(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(World(T0_NS, SensorPhysics(ppm=-15.0, drop_probability=0.05)))
    frames = bench.run(400)
    sequences = [frame.sequence for frame in frames]
    assert sequences == sorted(set(sequences))
    gaps = sum(after - before - 1 for before, after in itertools.pairwise(sequences))
    assert gaps == bench.camera.missed > 5
    assert sequences[-1] + 1 == pytest.approx(400, abs=3)


def test_stamps_of_boottime_are_mapped(
    make_bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that was suspended for an hour: the two clocks are an hour apart."""
    hour_ns = 3_600_000_000_000
    monkeypatch.setattr("time.monotonic_ns", lambda: 0)
    monkeypatch.setattr("time.clock_gettime_ns", lambda clock: hour_ns)
    world = World(T0_NS)
    world.boottime_ahead_ns = hour_ns
    bench = make_bench(world)
    frames = bench.run(90)
    assert bench.camera.stamp_clock == "CLOCK_BOOTTIME"
    assert 0 < bench.world.now_ns - frames[-1].frame_start_ns < 70_000_000


def test_stamps_of_another_clock_are_refused(make_bench: Callable[..., Bench]) -> None:
    world = World(T0_NS)
    world.boottime_ahead_ns = 10**18
    bench = make_bench(world)
    with pytest.raises(CameraError, match="neither of CLOCK_MONOTONIC"):
        bench.run(10)


def test_frames_without_stamps_are_refused(make_bench: Callable[..., Bench]) -> None:
    world = World(T0_NS)
    world.unstamped = True
    with pytest.raises(CameraError, match="without SensorTimestamp"):
        make_bench(world).run(10)


def test_a_camera_that_hangs_is_noticed(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench()
    bench.run(30)
    bench.world.hangs = True
    bench.run(140)
    assert bench.camera.lock_state != LockState.LOCKED
    with pytest.raises(CameraError, match="no frame for 5 s"):
        bench.run(30)


def test_more_frames_than_picamera2s_pipe_holds(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench()
    frames = bench.run(PIPE_BYTES + 200)
    assert len(frames) > PIPE_BYTES


def test_requests_are_let_go_of(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench()
    bench.run(100)
    assert bench.picam2.syncs_open == 0


def test_a_rate_without_headroom_is_refused_and_the_old_one_goes_on(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench()
    bench.run(60)
    with pytest.raises(HeadroomError, match="imx708-2304"):
        bench.camera.follow(Grid(bench.world.now_ns, Fraction(60)))
    assert len(bench.run(30)) == 30


def test_another_rate_restarts_the_sensor(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench()
    bench.run(60)
    bench.grid, bench.slot = Grid(bench.world.now_ns, Fraction(25)), 1
    bench.camera.follow(bench.grid)
    assert bench.picam2.stop_count == 1
    assert bench.picam2.start_controls["FrameDurationLimits"] == (40_000, 40_000)
    bench.run(120)
    assert bench.camera.lock_state == LockState.LOCKED


def test_pictures_are_read_where_the_camera_put_them(
    make_bench: Callable[..., Bench], tmp_path: Path
) -> None:
    bench = make_bench()
    pictures = SharedPictures(config(), tmp_path)

    def check(frame: CameraFrame) -> None:
        shown = pictures.picture(None, frame.picture)  # type: ignore[arg-type]
        assert (shown.width, shown.height, shown.format.name) == (640, 360, "yuv420p")
        assert (shown.to_ndarray() == frame.sequence % 251).all()

    assert len(bench.run(60, check)) > 50
    assert bench.camera._pool.overwritten == 0
    pictures.close()


def test_a_picture_that_nobody_took_in_time_is_refused(
    make_bench: Callable[..., Bench], tmp_path: Path
) -> None:
    bench = make_bench()
    oldest = bench.run(20)[0]
    pictures = SharedPictures(config(), tmp_path)
    with pytest.raises(CameraError, match="overwritten before"):
        pictures.picture(None, oldest.picture)  # type: ignore[arg-type]
    pictures.close()


def test_a_camera_is_found_by_number_or_id(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(device="0")
    ident = bench.world.ident
    assert bench.picam2.id == ident
    bench.camera.close()
    assert make_bench(device=ident).picam2.id == ident
    assert list_cameras() == [(0, "imx708_wide", ident), (1, "imx219", OTHER_IDENT)]


def test_of_several_cameras_one_must_be_named(make_bench: Callable[..., Bench]) -> None:
    with pytest.raises(CameraError, match="several cameras"):
        make_bench(device="")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"device": "3"}, "no camera '3'"),
        ({"options": {"mode": "imx477-2028"}}, "not one of the sensor imx708"),
        ({"options": {"buffers": 3}}, "at least 8"),
        ({"options": {"encoder": "hardware"}}, "this machine has none"),
        ({"options": {"exposure": 3}}, "no option exposure"),
        ({"options": {"mode": "imx708-4608"}}, "no mode of 4608x2592"),
    ],
)
def test_wrong_settings_are_refused(
    make_bench: Callable[..., Bench], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises((CameraError, InputError), match=message):
        make_bench(**changes)


def test_fewer_buffers_than_asked_for_is_said(make_bench: Callable[..., Bench]) -> None:
    world = World(T0_NS)
    world.most_buffers = 8
    with pytest.raises(CameraError, match="8 buffers instead of 12"):
        make_bench(world)
    assert world.opened[-1].closed
    assert make_bench(world, options={"buffers": 8}).run(60)


def test_a_camera_in_use_is_reported(make_bench: Callable[..., Bench]) -> None:
    world = World(T0_NS)
    world.refuses = True
    with pytest.raises(CameraError, match="Device or resource busy"):
        make_bench(world)


def test_two_agents_cannot_have_the_same_camera(make_bench: Callable[..., Bench]) -> None:
    make_bench()
    with pytest.raises(CameraError, match="another agent"):
        make_bench()


def test_without_picamera2_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "picamera2", None)
    with pytest.raises(EnvironmentLackError) as refused:
        open_camera(config(), tmp_path)
    assert "python3-picamera2" in refused.value.hint
