"""Pictures from process to process: board, descriptors, layouts, the hardware encoder's side."""

import os
import queue
import subprocess
import sys
import textwrap
import threading
import zlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.camera import CameraError
from edge_agent.picamera import SharedPictures
from edge_agent.picamera.board import Board, BufferPool, claim
from edge_agent.picamera.handover import HandoverServer, Layout, socket_name
from edge_agent.picamera.hardware import HardwareEncoder
from edge_agent.stream.encoder import EncoderError
from tests.edge_agent.test_picamera import config

ROOT = Path(__file__).parents[2]
BUFFERS = 6


@pytest.fixture
def board() -> Iterator[Board]:
    made = Board(os.memfd_create("board"), BUFFERS)
    yield made
    made.close()


class Shelf:
    """Two buffers with a picture each, offered as the capture process does."""

    def __init__(self, folder: Path, pixel_format: str, width: int, height: int) -> None:
        stride = width + 32
        self.layout = Layout(pixel_format, width, height, stride, stride * height * 3 // 2)
        self.fds = [os.memfd_create(f"buffer{index}") for index in range(2)]
        rows = height * 3 // 2
        generator = np.random.default_rng(5)
        self.pictures = [
            generator.integers(0, 256, (rows, stride), dtype=np.uint8) for _ in self.fds
        ]
        for fd, picture in zip(self.fds, self.pictures, strict=True):
            os.write(fd, picture.tobytes())
        self.board = Board(os.memfd_create("board"), 2)
        self.server = HandoverServer(
            socket_name(folder, "cam0"), self.layout, [self.board.fd, *self.fds]
        )

    def close(self) -> None:
        self.server.close()
        self.board.close()
        for fd in self.fds:
            os.close(fd)


@pytest.fixture(params=["YUV420", "NV12"])
def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shelf]:
    made = Shelf(tmp_path, request.param, 64, 48)
    yield made
    made.close()


def planes(shelf: Shelf, index: int) -> tuple[Any, Any, Any]:
    """Y, U and V as libcamera lays them out."""
    width, height, stride = shelf.layout.width, shelf.layout.height, shelf.layout.stride
    picture = shelf.pictures[index]
    luma, chroma = picture[:height, :width], picture[height:]
    if shelf.layout.pixel_format == "NV12":
        return luma, chroma[:, 0:width:2], chroma[:, 1:width:2]
    half = chroma.reshape(height, stride // 2)[:, : width // 2]
    return luma, half[: height // 2], half[height // 2 :]


def test_both_layouts_give_the_same_planes(shelf: Shelf, tmp_path: Path) -> None:
    shelf.board.show(0, 70)
    shelf.board.show(1, 71)
    pictures = SharedPictures(config(), tmp_path)
    for index, number in enumerate((70, 71)):
        shown = pictures.picture(None, number)  # type: ignore[arg-type]
        for plane, expected in zip(shown.planes, planes(shelf, index), strict=True):
            lines = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
            assert (lines[:, : plane.width] == expected).all()
    pictures.close()


READER = """
    import sys
    from pathlib import Path
    from edge_agent.picamera.handover import receive_buffers, socket_name
    from edge_agent.picamera.board import Board, claim
    layout, fds = receive_buffers(socket_name(Path(sys.argv[1]), "cam0"))
    board = Board(fds[0], len(fds) - 1)
    buffer = claim(board, 71)
    import os, zlib
    print(layout.pixel_format, buffer, zlib.crc32(os.pread(fds[1 + buffer], layout.size, 0)))
"""


def test_another_process_reads_the_same_memory(shelf: Shelf, tmp_path: Path) -> None:
    shelf.board.show(1, 71)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(READER), str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    checksum = zlib.crc32(shelf.pictures[1].tobytes())
    assert done.stdout.split() == [shelf.layout.pixel_format, "1", str(checksum)]
    assert shelf.board.reading == 71


def test_without_a_capture_process_the_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match="gives no pictures"):
        SharedPictures(config(), tmp_path).picture(None, 1)  # type: ignore[arg-type]


@given(st.lists(st.sampled_from(["take", "fill", "read", "read newest"]), max_size=200))
def test_a_buffer_is_never_filled_while_it_is_read(actions: list[str]) -> None:
    board = Board(os.memfd_create("board"), BUFFERS)
    pool = BufferPool(board, first_number=1000)
    with_camera: list[int] = []
    published: list[int] = []
    being_read: int | None = None
    for action in actions:
        if action == "take" and len(with_camera) < BUFFERS // 2:
            buffer = pool.take()
            assert buffer is not None
            assert buffer != being_read
            assert buffer not in with_camera
            with_camera.append(buffer)
        elif action == "fill" and with_camera:
            published.append(pool.publish(with_camera.pop(0)))
        elif action.startswith("read") and published:
            later = [number for number in published if number >= board.reading]
            wanted = later[-1] if action == "read newest" else later[0]
            try:
                being_read = claim(board, wanted)
            except CameraError:
                being_read = None
    assert published == list(range(1000, 1000 + len(published)))
    board.close()


def test_unread_pictures_are_kept_as_long_as_there_is_room(board: Board) -> None:
    pool = BufferPool(board, first_number=1)
    for _ in range(3):
        pool.publish(pool.take() or 0)
    first = claim(board, 1)
    taken = {pool.take() for _ in range(3)}
    assert first not in taken
    assert pool.overwritten == 0
    assert board.number(claim(board, 2)) == 2


def test_the_oldest_unread_picture_goes_first(board: Board) -> None:
    pool = BufferPool(board, first_number=1)
    for _ in range(BUFFERS):
        pool.publish(pool.take() or 0)
    claim(board, 1)
    pool.take()
    assert pool.overwritten == 1
    with pytest.raises(CameraError, match="overwritten"):
        claim(board, 2)
    assert board.number(claim(board, 3)) == 3


class StandinEncoder:
    """picamera2's `V4L2Encoder` at its documented interface: units come from a thread of its own,
    stamped with µs from the first frame; a forced key frame is the next one."""

    def __init__(self) -> None:
        self.running = False
        self.forced = 0
        self.silent = self.no_keys = False
        self._jobs: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._first_us: int | None = None

    def start(self) -> None:
        self.running = True
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self.running = False
        self._jobs.put(None)
        self._thread.join()

    def force_key_frame(self) -> None:
        self.forced += 1

    def encode(self, stream: Any, request: Any) -> None:
        buffer = request.request.buffers[stream]
        stamp_us = int(request.request.metadata[object()] / 1000)
        if self._first_us is None:
            self._first_us = stamp_us
        request.acquire()
        size = stream.configuration.frame_size
        self._jobs.put((buffer.planes[0].fd, size, stamp_us - self._first_us, self.forced > 0))
        self.forced = 0

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            fd, size, stamp_us, key = job
            if not self.silent:
                unit = os.pread(fd, size, 0)[:8]
                self.output.outputframe(unit, key and not self.no_keys, stamp_us)  # type: ignore[attr-defined]


@pytest.fixture
def outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("picamera2.outputs")
    module.Output = type("Output", (), {})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "picamera2", ModuleType("picamera2"))
    monkeypatch.setitem(sys.modules, "picamera2.outputs", module)


@pytest.mark.usefixtures("outputs")
class TestHardwareEncoder:
    def test_each_picture_gives_its_own_unit(self, shelf: Shelf, tmp_path: Path) -> None:
        pictures = SharedPictures(config(), tmp_path)
        standin = StandinEncoder()
        encoder = HardwareEncoder(pictures, standin, Fraction(30000, 1001))
        assert standin.stride == shelf.layout.stride  # type: ignore[attr-defined]
        assert standin.size == (64, 48)  # type: ignore[attr-defined]
        for slot in range(40):
            number, index = 100 + slot, slot % 2
            shelf.board.show(index, number)
            picture = pictures.picture(None, number)  # type: ignore[arg-type]
            unit = encoder.encode(picture, slot, key=slot % 10 == 0)
            assert unit == shelf.pictures[index].tobytes()[:8]
        encoder.close()
        assert not standin.running
        pictures.close()

    @pytest.mark.parametrize(
        ("fault", "message"), [("silent", "gave nothing"), ("no_keys", "no key frame")]
    )
    def test_a_codec_that_fails_is_reported(
        self, shelf: Shelf, tmp_path: Path, fault: str, message: str
    ) -> None:
        pictures = SharedPictures(config(), tmp_path)
        standin = StandinEncoder()
        setattr(standin, fault, True)
        encoder = HardwareEncoder(pictures, standin, Fraction(30))
        shelf.board.show(0, 1)
        picture = pictures.picture(None, 1)  # type: ignore[arg-type]
        with pytest.raises(EncoderError, match=message):
            encoder.encode(picture, 7, key=True)
        encoder.close()
        pictures.close()
