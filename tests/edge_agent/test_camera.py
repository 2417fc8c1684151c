"""Camera backends behind the capture process's protocol."""

import os
import time
from fractions import Fraction

import av
import numpy as np
import pytest

from capture_protocol.errors import InputError
from capture_protocol.frame import FrameFlag, LockState
from capture_protocol.grid import Grid
from capture_protocol.rig import NodeCamera, SensorModeSection
from edge_agent.camera import CameraError, make_buffers, open_camera, v4l2
from edge_agent.camera.buffers import PictureBuffers
from edge_agent.camera.footage import Footage
from edge_agent.genlock import HeadroomError
from edge_agent.stream.pictures import BufferedPictures, open_pictures

PICTURES = 12


def camera(**fields):
    return NodeCamera(
        **{"name": "cam0", "index": 0, "stream_port": 1, "width": 160, "height": 96} | fields
    )


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    """A film whose picture n has the grey level 20 + 15·n, at 10 fps with B-frames inside."""
    path = tmp_path_factory.mktemp("film") / "film.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"bf": "2", "g": "5"})
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        for number in range(PICTURES):
            pixels = np.full((144, 160), 20 + 15 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="yuv420p")))
        container.mux(stream.encode(None))
    return path


def level(frame):
    return round((float(frame.to_ndarray(format="yuv420p")[:96].mean()) - 20) / 15)


def play(camera, grid, slots):
    """Release slots one by one and return what came."""
    camera.follow(grid)
    frames = []
    for slot in slots:
        now_ns = grid.time_ns(slot)
        camera.prepare(slot)
        camera.release(slot, now_ns)
        frames += camera.frames(now_ns)
    return frames


def grid(rate=30):
    return Grid(time.monotonic_ns(), Fraction(rate))


def test_footage_gives_its_pictures_by_number_in_any_order(footage):
    film = Footage(footage)
    assert (len(film), film.rate) == (PICTURES, 10)
    for number in (0, 1, 2, 7, 3, 11, 11, 0):
        assert level(film.picture(number)) == number
    film.close()


@pytest.mark.parametrize("content", [None, b"no video", b""])
def test_what_is_no_video_is_an_error_that_names_the_file(tmp_path, content):
    if content is not None:
        (tmp_path / "x.mp4").write_bytes(content)
    with pytest.raises(CameraError, match=r"x\.mp4"):
        open_camera(camera(backend="file", device="x.mp4"), tmp_path)


def test_a_file_shows_its_pictures_one_per_slot_and_starts_again(footage):
    film = open_camera(camera(backend="file", device=footage.name), footage.parent)
    frames = play(film, grid(), range(3, 30))
    assert [frame.picture for frame in frames] == [slot % PICTURES for slot in range(3, 30)]
    assert {frame.flags for frame in frames} == {int(FrameFlag.SIMULATED)}


def test_a_file_that_is_not_looped_repeats_its_last_picture_and_says_so(footage):
    config = camera(backend="file", device=footage.name, options={"loop": False})
    frames = play(open_camera(config, footage.parent), grid(), range(15))
    assert [frame.picture for frame in frames] == [*range(12), 11, 11, 11]
    repeated = [bool(frame.flags & FrameFlag.REPEATED) for frame in frames]
    assert repeated == [False] * 12 + [True] * 3


def test_a_file_at_its_own_rate_advances_with_time(footage):
    config = camera(backend="file", device=footage.name, options={"rate": "own"})
    frames = play(open_camera(config, footage.parent), grid(30), range(7))
    assert [frame.picture for frame in frames] == [0, 0, 0, 1, 1, 1, 2]
    assert [bool(frame.flags & FrameFlag.REPEATED) for frame in frames] == [
        *(False, True, True),
        *(False, True, True),
        False,
    ]


def test_the_picture_of_a_file_is_not_touched_where_its_size_fits(footage):
    pictures = open_pictures(camera(backend="file", device=footage.name), footage.parent)
    small = camera(backend="file", device=footage.name, width=80, height=48)
    scaled = open_pictures(small, footage.parent)
    film = Footage(footage)
    for number in (0, 5):
        shown = pictures.picture(None, number)
        assert np.array_equal(
            shown.to_ndarray(format="yuv420p"), film.picture(number).to_ndarray(format="yuv420p")
        )
        assert (scaled.picture(None, number).width, shown.width) == (80, 160)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"backend": "file"}, "needs `device`"),
        ({"backend": "file", "options": {"speed": 2}}, "no option speed"),
        ({"options": {"ppm": "fast"}}, "ppm must be float"),
        ({"options": {"mode": "imx999"}}, "unknown sensor mode"),
        ({"options": {"trigger": "sometimes"}}, "'free' or 'hardware'"),
        ({"options": {"drop_probability": 1.5}}, "probabilities"),
    ],
)
def test_wrong_options_are_named(tmp_path, footage, fields, complaint):
    config = camera(**({"device": str(footage)} if "options" in fields else {}) | fields)
    with pytest.raises(InputError, match=complaint):
        open_camera(config, tmp_path)


def test_a_backend_that_needs_buffers_is_refused_without(tmp_path):
    with pytest.raises(CameraError, match="not available"):
        open_camera(camera(backend="v4l2"), tmp_path)


def run_for(camera, grid, slots):
    """Drive a simulated camera in real time, as the capture loop does."""
    camera.follow(grid)
    frames = []
    for slot in range(slots):
        camera.prepare(slot)
        while time.monotonic_ns() < grid.time_ns(slot):
            frames += camera.frames(time.monotonic_ns())
            time.sleep(0.0005)
        camera.release(slot, time.monotonic_ns())
    return frames


def midpoint_errors_ns(frames, grid):
    truths = [frame.picture for frame in frames]
    return [abs(truth - grid.time_ns(grid.nearest_slot(truth))) for truth in truths]


def test_a_free_running_camera_is_pulled_onto_the_grid(tmp_path):
    simulated = open_camera(camera(options={"ppm": 40, "mode": "imx219-640"}), tmp_path)
    target = Grid(time.monotonic_ns() + 20_000_000, Fraction(60))
    frames = run_for(simulated, target, 75)
    assert simulated.lock_state == LockState.LOCKED
    assert max(midpoint_errors_ns(frames[-8:], target)) < 60_000
    assert frames[-1].sequence - frames[0].sequence == len(frames) - 1


def test_a_sensor_mode_of_the_rig_is_as_good_as_one_of_the_table(tmp_path):
    own = SensorModeSection(
        name="ov9281-1280",
        width=1280,
        rows=800,
        line_time_ns=9_100.0,
        shortest_lines=910,
        vblank_delay=2,
    )
    config = camera(options={"mode": "ov9281-1280"})
    with pytest.raises(InputError, match="unknown sensor mode 'ov9281-1280'"):
        open_camera(config, tmp_path)
    simulated = open_camera(config, tmp_path, sensor_modes=[own])
    frames = run_for(simulated, Grid(time.monotonic_ns() + 20_000_000, Fraction(60)), 5)
    assert {(frame.rows, frame.line_time_ns) for frame in frames} == {(800, 9_100)}


def test_a_camera_that_hangs_is_silent_from_that_slot_on(tmp_path):
    target = Grid(time.monotonic_ns() + 20_000_000, Fraction(60))
    options = {"trigger": "hardware", "mode": "imx296-1456"}
    simulated = open_camera(camera(options=options | {"hang_at_slot": 20}), tmp_path)
    frames = run_for(simulated, target, 40)
    assert 15 <= len(frames) <= 21
    assert simulated.next_due_ns is None


def test_a_triggered_camera_is_on_the_grid_from_its_first_frame(tmp_path):
    config = camera(options={"trigger": "hardware", "mode": "imx296-1456"})
    simulated = open_camera(config, tmp_path)
    target = Grid(time.monotonic_ns() + 20_000_000, Fraction(60))
    frames = run_for(simulated, target, 12)
    assert len(frames) >= 9
    assert max(midpoint_errors_ns(frames, target)) < 5_000


def test_a_rate_without_head_room_is_refused(tmp_path):
    with pytest.raises(HeadroomError, match="room to steer"):
        open_camera(camera(), tmp_path).follow(grid(120))


@pytest.fixture
def test_pattern(monkeypatch):
    """V4L2 needs a device; FFmpeg's test pattern comes through the same door, paced by a clock."""
    monkeypatch.setattr(v4l2, "_FORMAT", "lavfi")
    return "testsrc2=size=160x96:rate=50,format=yuv420p,realtime"


def test_a_usb_camera_hands_its_pictures_to_the_worker(tmp_path, test_pattern):
    config = camera(backend="v4l2", device=test_pattern, options={"rate": "50"})
    memory = make_buffers(config)
    usb = open_camera(config, tmp_path, memory)
    pictures = open_pictures(config, tmp_path, os.dup(memory))
    frames, shown = [], []
    deadline = time.monotonic() + 10
    while len(frames) < 6 and time.monotonic() < deadline:
        for frame in usb.frames(time.monotonic_ns()):
            frames.append(frame)
            shown.append(pictures.picture(None, frame.picture).to_ndarray(format="yuv420p"))
        time.sleep(0.002)
    usb.close()
    assert [frame.picture for frame in frames[:6]] == list(range(1, 7))
    assert not np.array_equal(shown[0], shown[5]), "the pattern moves"
    with av.open(test_pattern.replace(",realtime", ""), format="lavfi") as source:
        first = next(source.decode(video=0))
    assert np.array_equal(shown[0], first.to_ndarray(format="yuv420p"))
    arrivals = np.diff([frame.frame_start_ns for frame in frames])
    assert arrivals.min() > 0
    assert frames[0].stamp_uncertainty_ns == 30_000_000, "an arrival is no kernel stamp"


def test_a_usb_camera_that_ends_says_so_and_is_opened_again(tmp_path, test_pattern, monkeypatch):
    monkeypatch.setattr(v4l2, "_RETRY_S", 0.2)
    ending = test_pattern.replace("rate=50", "rate=50:duration=0.1")
    config = camera(backend="v4l2", device=ending)
    usb = open_camera(config, tmp_path, make_buffers(config))
    numbers, complaints = [], []
    deadline = time.monotonic() + 10
    while len(numbers) < 8 and time.monotonic() < deadline:
        try:
            numbers += [frame.picture for frame in usb.frames(time.monotonic_ns())]
        except CameraError as error:
            complaints.append(str(error))
        time.sleep(0.002)
    usb.close()
    assert numbers[:8] == list(range(1, 9))
    assert "ended its stream" in complaints[0]


def test_a_missing_device_is_an_error_with_a_hint(tmp_path):
    config = camera(backend="v4l2", device="/dev/no-such-video")
    with pytest.raises(CameraError, match="/dev/no-such-video") as caught:
        open_camera(config, tmp_path, make_buffers(config))
    assert "edge-agent cameras" in caught.value.hint


def test_a_picture_that_was_replaced_is_not_shown():
    config = camera()
    memory = make_buffers(config)
    buffers = PictureBuffers(memory, config)
    for number in range(1, 12):
        buffers.write(number, np.full((144, 160), number, np.uint8))
    assert buffers.read(3) is None
    assert buffers.read(12) is None
    assert buffers.read(11).to_ndarray(format="yuv420p").max() == 11
    worker = BufferedPictures(config, memory)
    with pytest.raises(CameraError, match="replaced"):
        worker.picture(type("Record", (), {"slot": 3}), 3)
