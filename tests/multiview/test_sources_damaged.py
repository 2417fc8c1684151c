"""Damaged, absurd and stalled files: a clear error or what is there, never a hang or a leak."""

import gc
import os
import resource
from pathlib import Path
from random import Random
from time import monotonic

import numpy as np
import pytest

from multiview.errors import (
    SourceClosedError,
    SourceError,
    SourceNotFoundError,
    SourceOpenError,
    SyncConfigError,
)
from multiview.sources import FileVideoSource, Frame
from tests.multiview.clips import Clip, encode, remuxed, shown_number, steady

SUFFIXES = (".mp4", ".mkv", ".avi", ".ts", ".h264")
ROUNDS = 20


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Clip]:
    folder = tmp_path_factory.mktemp("originals")
    clip = encode(folder / "clip.mp4", steady(4), size=(512, 64), b_frames=2)
    return {".mp4": clip} | {
        suffix: remuxed(clip, folder / f"copy{suffix}") for suffix in SUFFIXES[1:]
    }


def damaged(content: bytes, random: Random) -> bytes:
    """Overwritten, cut, doubled or zeroed somewhere."""
    made = bytearray(content)
    start = random.randrange(len(made))
    length = random.randrange(1, 400)
    match random.randrange(4):
        case 0:
            for _ in range(random.randrange(1, 40)):
                made[random.randrange(len(made))] = random.randrange(256)
        case 1:
            del made[start:]
        case 2:
            made[start:start] = made[start : start + length]
        case _:
            made[start : start + length] = bytes(length)
    return bytes(made)


def read_everywhere(path: Path) -> int:
    """All frames in order and some at random; how many were usable."""
    with FileVideoSource(path, "cam") as source:
        count = source.get_metadata().total_frames or 0
        usable = sum(check(frame) for frame in source.frames())
        random = Random(1)
        for _ in range(10):
            check(source.frame_by_number(random.randrange(count)))
            check(source.frame_at(random.randrange(-(10**9), 10**10)))
    return usable


def check(frame: Frame) -> bool:
    assert frame.is_valid or frame.reason
    if frame.picture is not None:
        assert frame.picture.bgr.shape[2] == 3
    return frame.is_valid


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_damaged_files_are_read_or_refused(originals, tmp_path, suffix: str) -> None:
    content = originals[suffix].path.read_bytes()
    random, read, refused = Random(suffix), 0, 0
    for k in range(ROUNDS):
        path = tmp_path / f"{k}{suffix}"
        path.write_bytes(damaged(content, random))
        begin = monotonic()
        try:
            read += read_everywhere(path) > 0
        except SourceOpenError as error:
            assert str(path) in str(error)
            refused += 1
        assert monotonic() - begin < 30
    assert read + refused >= ROUNDS * 0.9
    assert read > 0


def test_noise_is_refused(tmp_path) -> None:
    random = Random(4)
    for k in range(20):
        path = tmp_path / f"noise{k}.mp4"
        path.write_bytes(random.randbytes(random.randrange(1, 20_000)))
        try:
            assert read_everywhere(path) >= 0
        except SourceOpenError as error:
            assert error.exit_code == 2


def test_opening_and_reading_again_and_again_does_not_grow(originals, tmp_path) -> None:
    content = originals[".mp4"].path.read_bytes()
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(damaged(content, Random(0)))

    def rounds(count: int) -> int:
        for _ in range(count):
            for path in (originals[".mp4"].path, broken):
                try:
                    read_everywhere(path)
                except SourceError:
                    continue
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize()

    before, opened = rounds(3), len(os.listdir("/proc/self/fd"))
    growth = rounds(9) - before
    assert growth < 8 * 2**20
    assert len(os.listdir("/proc/self/fd")) <= opened


def test_frames_lost_in_the_middle_are_told_apart_from_the_others(originals, tmp_path) -> None:
    content = bytearray(originals[".mkv"].path.read_bytes())
    with FileVideoSource(originals[".mkv"].path, "cam") as source:
        row = source._opened().file.rows[45]
    assert row.position is not None
    at = row.position + 12
    content[at : at + row.size - 12] = bytes(row.size - 12)
    path = tmp_path / "hole.mkv"
    path.write_bytes(bytes(content))
    with FileVideoSource(path, "cam") as source:
        frames = list(source.frames())
    assert [frame.frame_number for frame in frames] == list(range(120))
    wrong = [f for f in frames if not f.is_valid]
    assert all(30 <= frame.frame_number < 60 for frame in wrong)
    assert all(shown_number(f) == f.frame_number for f in frames[:30] + frames[60:])


def test_places_without_a_video_are_named(tmp_path) -> None:
    with pytest.raises(SourceNotFoundError, match="not found"):
        FileVideoSource(tmp_path / "none.mp4", "cam").open()
    with pytest.raises(SourceOpenError, match="not a regular file"):
        FileVideoSource(tmp_path, "cam").open()
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(SourceOpenError, match="cannot be read as a video"):
        FileVideoSource(tmp_path / "empty.mp4", "cam").open()
    (tmp_path / "text.txt").write_text("no video here\n" * 100)
    with pytest.raises(SourceOpenError, match=r"text\.txt"):
        FileVideoSource(tmp_path / "text.txt", "cam").open()
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(SourceOpenError, match="not a regular file"):
        FileVideoSource(tmp_path / "pipe.mp4", "cam").open()


def test_sound_alone_is_no_video(tmp_path) -> None:
    import wave

    path = tmp_path / "sound.wav"
    with wave.open(str(path), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(np.zeros(8000, np.int16).tobytes())
    with pytest.raises(SourceOpenError, match="no video stream"):
        FileVideoSource(path, "cam").open()


def test_a_source_must_be_open(originals) -> None:
    source = FileVideoSource(originals[".mp4"].path, "cam")
    for use in (source.read_frame, source.frames, source.get_metadata, lambda: source.frame_at(0)):
        with pytest.raises(SourceClosedError, match="not open"):
            use()
    with source:
        assert source.read_frame() is not None
    source.release()
    with pytest.raises(SourceClosedError):
        source.read_frame()
    with source, pytest.raises(IndexError, match="there are 120"):
        source.frame_by_number(120)


@pytest.mark.parametrize("window_s", [-1.0, float("inf"), float("nan")])
def test_absurd_windows_are_refused(window_s: float) -> None:
    with pytest.raises(SyncConfigError, match="a window of"):
        FileVideoSource("clip.mp4", "cam", window_s=window_s)


@pytest.mark.parametrize("threads", [0, -1, 10_000])
def test_absurd_thread_counts_are_refused(threads: int) -> None:
    with pytest.raises(SyncConfigError, match=f"{threads} decoder threads: 1 to 64"):
        FileVideoSource("clip.mp4", "cam", decoder_threads=threads)


@pytest.mark.parametrize("limit_s", [0.0, -5.0, float("inf"), float("nan")])
def test_absurd_stall_limits_are_refused(limit_s: float) -> None:
    with pytest.raises(SyncConfigError, match="a stall limit of"):
        FileVideoSource("clip.mp4", "cam", stall_timeout_s=limit_s)


@pytest.mark.parametrize("time_ns", [-(10**30), -1, 0, 10**12, 10**30])
def test_absurd_times_give_the_first_or_the_last_frame(originals, time_ns: int) -> None:
    with FileVideoSource(originals[".mp4"].path, "cam") as source:
        number = 119 if time_ns > 0 else 0
        assert source.frame_at(time_ns).frame_number == number
        assert len(list(source.frames(time_ns, -(10**30)))) == 0
        source.seek(time_ns)
        assert (source.read_frame() is None) == (time_ns > 0)


def test_threads_end_with_their_source(originals) -> None:
    import threading

    before = threading.active_count()
    for _ in range(5):
        with FileVideoSource(originals[".mp4"].path, "cam") as source:
            for _ in range(20):
                source.read_frame()
            assert threading.active_count() == before + 1
    assert threading.active_count() == before
