"""A disk that stops answering, for real: a file system of our own whose server is stopped."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from threading import active_count
from time import monotonic

import pytest

from multiview.errors import SourceClosedError, SourceStalledError
from multiview.sources import FileVideoSource
from multiview.sync import VideoIngestor, VideoSourceConfig
from tests.multiview.clips import Clip, encode, shown_number, steady

SYSTEM_PYTHON = Path("/usr/bin/python3")
SERVER = Path(__file__).parents[1] / "support" / "slow_disk.py"
LIMIT_S = 4.0
SOON_S = 40.0
"""A hang lasts for ever; a busy machine does not."""


def lacking() -> str:
    """What a file system of our own needs and this machine has not."""
    if os.geteuid() != 0:
        return "needs root to mount"
    if not os.access("/dev/fuse", os.W_OK):
        return "needs /dev/fuse"
    found = subprocess.run([SYSTEM_PYTHON, "-c", "import pyfuse3"], capture_output=True)
    return "needs pyfuse3: apt install python3-pyfuse3 fuse3" if found.returncode else ""


pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(bool(lacking()), reason=lacking() or "nothing is lacking"),
]


@dataclass(frozen=True)
class SlowDisk:
    """A clip on a disk that can be stopped."""

    clip: Clip
    path: Path
    server: subprocess.Popen[str]

    def stall(self) -> None:
        os.kill(self.server.pid, signal.SIGSTOP)
        os.waitpid(self.server.pid, os.WUNTRACED)

    def answer(self) -> None:
        os.kill(self.server.pid, signal.SIGCONT)


Mount = Callable[..., SlowDisk]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    folder = tmp_path_factory.mktemp("stored")
    return encode(folder / "clip.mp4", steady(60), size=(512, 64), b_frames=2)


@pytest.fixture
def mount(clip: Clip, tmp_path: Path) -> Iterator[Mount]:
    disks: list[SlowDisk] = []

    def mounted(delay_ms: float = 0) -> SlowDisk:
        folder = tmp_path / f"disk{len(disks)}"
        folder.mkdir()
        server = subprocess.Popen(
            [SYSTEM_PYTHON, SERVER, clip.path, folder, str(delay_ms)],
            stdout=subprocess.PIPE,
            text=True,
        )
        disks.append(SlowDisk(clip, folder / "clip", server))
        assert server.stdout is not None
        assert server.stdout.readline() == "mounted\n"
        return disks[-1]

    yield mounted
    for disk in disks:
        disk.server.kill()
        disk.server.wait()
        subprocess.run(["umount", "--lazy", disk.path.parent], check=False)


def check_refused(use: Callable[[], object]) -> None:
    begin = monotonic()
    with pytest.raises(SourceStalledError, match="nothing could be read for 4 s"):
        use()
    assert monotonic() - begin < SOON_S


def source_on(disk: SlowDisk) -> FileVideoSource:
    return FileVideoSource(disk.path, "cam", stall_timeout_s=LIMIT_S)


def test_opening_on_a_stalled_disk_is_refused_and_possible_later(mount: Mount) -> None:
    disk = mount()
    source = source_on(disk)
    disk.stall()
    check_refused(source.open)
    disk.answer()
    with source:
        assert shown_number(source.frame_by_number(700)) == 700


def test_a_jump_on_a_stalled_disk_is_refused_and_possible_later(mount: Mount) -> None:
    disk = mount()
    with source_on(disk) as source:
        assert shown_number(source.frame_by_number(100)) == 100
        disk.stall()
        check_refused(lambda: source.frame_by_number(1500))
        with pytest.raises(SourceClosedError):
            source.frame_by_number(1500)
        disk.answer()
        source.open()
        assert shown_number(source.frame_by_number(1500)) == 1500


def test_reading_on_ends_when_the_disk_stalls(mount: Mount) -> None:
    threads, disk = active_count(), mount()
    with source_on(disk) as source:
        frames = source.frames()
        assert [shown_number(next(frames)) for _ in range(60)] == list(range(60))
        disk.stall()
        check_refused(lambda: [None for _ in frames])
        disk.answer()
    deadline = monotonic() + SOON_S
    while active_count() > threads and monotonic() < deadline:
        with suppress(SourceClosedError):
            source.read_frame()
    assert active_count() == threads


def test_release_does_not_wait_for_ever(mount: Mount) -> None:
    disk = mount()
    source = source_on(disk)
    source.open()
    frames = source.frames()
    for _ in range(60):
        next(frames)
    disk.stall()
    begin = monotonic()
    source.release()
    assert monotonic() - begin < SOON_S
    disk.answer()


def test_the_other_cameras_go_on(mount: Mount, clip: Clip) -> None:
    disk = mount()
    stalling = VideoSourceConfig.of(source_on(disk))
    with VideoIngestor([stalling, VideoSourceConfig(clip.path, "well")]) as cameras:
        assert len(cameras.frame_set_at(10**9).valid) == 2
        disk.stall()
        begin, reasons = monotonic(), []
        for second in range(20, 50):
            frames = cameras.frame_set_at(second * 10**9).frames
            assert shown_number(frames["well"]) == second * 30
            reasons.append(frames["cam"].reason)
        assert monotonic() - begin < 2 * SOON_S
        told = [reason for reason in reasons if reason]  # some frames were read before
        assert "nothing could be read" in told[0]
        assert reasons[-1]
        assert all("not open" in reason for reason in told[1:])
        disk.answer()


def test_a_slow_disk_is_not_a_stalled_one(mount: Mount) -> None:
    disk, random = mount(delay_ms=150), Random(1)
    begin = monotonic()
    with source_on(disk) as source:
        while monotonic() - begin < 1.5 * LIMIT_S:
            number = random.randrange(len(disk.clip.shown))
            assert shown_number(source.frame_by_number(number)) == number
