"""Every query hits the right frame: the pictures themselves say which one was delivered."""

from contextlib import suppress
from random import Random

import av
import pytest

from multiview.sources import FileVideoSource
from tests.multiview.clips import Clip, encode, remuxed, shown_number, steady, varying
from tests.multiview.conftest import Library

QUERIES = 200
MILLISECOND_NS = 1_000_000

# Container -> how exactly its times can be told: Matroska rounds to milliseconds, MPEG-TS begins
# 1.4 s later, raw H.264 has no times of its own.
EXACT = ["steady", "steady-b", "varying", "halved", "trimmed", "avi"]


def check_by_number(source: FileVideoSource, clip: Clip, seed: int) -> None:
    random = Random(seed)
    for _ in range(QUERIES):
        number = random.randrange(len(clip.shown))
        frame = source.frame_by_number(number)
        assert (frame.frame_number, shown_number(frame)) == (number, clip.shown[number])


def check_by_time(source: FileVideoSource, clip: Clip, seed: int) -> None:
    random = Random(seed)
    for _ in range(QUERIES):
        time_ns = random.randrange(clip.times_ns[0] - 10**9, clip.times_ns[-1] + 10**9)
        wanted = clip.nearest(time_ns)
        frame = source.frame_at(time_ns)
        assert shown_number(frame) == clip.shown[wanted]
        assert abs(frame.time_ns - clip.times_ns[wanted]) <= 1


@pytest.mark.parametrize("name", EXACT)
def test_random_queries_hit_the_right_frame(clips: Library, name: str) -> None:
    clip = clips[name]
    with FileVideoSource(clip.path, "cam") as source:
        metadata = source.get_metadata()
        assert metadata.total_frames == len(clip.shown)
        assert metadata.complete, metadata.notes
        check_by_number(source, clip, seed=1)
        check_by_time(source, clip, seed=2)


def test_matroska_times_are_the_file_s_milliseconds(clips: Library) -> None:
    made = clips["varying-b"]
    rounded = tuple(round(t / MILLISECOND_NS) * MILLISECOND_NS for t in made.times_ns)
    with FileVideoSource(made.path, "cam") as source:
        stored = tuple(int(t) for t in source.times_ns)
        assert max(abs(a - b) for a, b in zip(stored, rounded, strict=True)) <= MILLISECOND_NS
        check_by_number(source, made, seed=3)
        check_by_time(source, Clip(made.path, made.shown, stored), seed=4)
        assert source.frame_at(0).uncertainty_ns == pytest.approx(288_675, abs=1)


def test_a_transport_stream_keeps_its_own_zero(clips: Library) -> None:
    made = clips["transport"]
    with FileVideoSource(made.path, "cam") as source:
        start = source.get_metadata().start_ns
        moved = Clip(made.path, made.shown, tuple(t + start for t in made.times_ns))
        assert start > 10**9
        check_by_number(source, moved, seed=5)
        check_by_time(source, moved, seed=6)


def test_missing_times_are_assumed_and_said(clips: Library) -> None:
    made = clips["raw"]
    with FileVideoSource(made.path, "cam") as source:
        assert any("no times" in note for note in source.get_metadata().notes)
        frame = source.frame_at(30 * 10**9)
        assert frame.metadata["estimated_time"] is True
        assert frame.uncertainty_ns >= 33 * MILLISECOND_NS
        check_by_number(source, made, seed=7)
        check_by_time(source, Clip(made.path, made.shown, tuple(map(int, source.times_ns))), 8)


@pytest.mark.parametrize("name", ["truncated", "truncated-mkv"])
def test_a_truncated_file_gives_what_is_there_and_says_so(clips: Library, name: str) -> None:
    clip = clips[name]
    with FileVideoSource(clip.path, "cam") as source:
        metadata = source.get_metadata()
        there = metadata.total_frames
        assert there is not None
        assert abs(there - plainly_decodable(clip)) <= 1
        assert 0.2 * len(clip.shown) < there < 0.9 * len(clip.shown)
        assert not metadata.complete
        assert any("truncated" in n or "cut off" in n or "unreadable" in n for n in metadata.notes)
        stored = tuple(int(t) for t in source.times_ns)
        what_is_left = Clip(clip.path, clip.shown[:there], stored)
        check_by_number(source, what_is_left, seed=9)
        check_by_time(source, what_is_left, seed=10)


def plainly_decodable(clip: Clip) -> int:
    count = 0
    with av.open(str(clip.path)) as container:
        for packet in container.demux(video=0):
            with suppress(av.error.InvalidDataError):
                count += len(packet.decode())
    return count


@pytest.mark.parametrize(
    ("codec", "options"),
    [
        ("libx264", {"preset": "ultrafast", "x264-params": "open-gop=1:bframes=3:keyint=30"}),
        ("libx265", {"preset": "ultrafast", "x265-params": "log-level=error:open-gop=1:bframes=3"}),
        ("mjpeg", {"color_range": "pc"}),
    ],
)
def test_open_groups_and_other_codecs(tmp_path, codec: str, options: dict[str, str]) -> None:
    clip = encode(
        tmp_path / "clip.mov",
        varying(8, 3),
        size=(512, 64),
        codec=codec,
        b_frames=3 * (codec[:4] == "libx"),
        options=options,
    )
    with FileVideoSource(clip.path, "cam") as source:
        check_by_number(source, clip, seed=11)
        check_by_time(source, clip, seed=12)


def test_repeated_times_keep_every_frame(tmp_path) -> None:
    clip = encode(tmp_path / "once.mkv", steady(4), size=(512, 64))
    twice = tmp_path / "twice.mkv"
    with av.open(str(clip.path)) as given, av.open(str(twice), "w") as made:
        stream = made.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(video=0):
            if packet.size:
                packet.pts = packet.dts = packet.pts // 100 * 100
                packet.stream = stream
                made.mux(packet)
    with FileVideoSource(twice, "cam") as source:
        assert [shown_number(frame) for frame in source.frames()] == list(range(120))
        assert source.frame_at(1_010_000_000).frame_number == 30
        assert any("same time" in note for note in source.get_metadata().notes)


def test_remuxing_changes_no_answer(tmp_path) -> None:
    clip = encode(tmp_path / "clip.mp4", varying(5, 4), size=(512, 64), b_frames=2)
    for suffix in (".mov", ".nut", ".mkv", ".ts", ".flv"):
        copied = remuxed(clip, tmp_path / f"copy{suffix}")
        with FileVideoSource(copied.path, "cam") as source:
            assert [shown_number(frame) for frame in source.frames()] == list(clip.shown), suffix
