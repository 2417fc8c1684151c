"""Live streams from GStreamer's real RTSP server, whose pictures show when they were taken."""

import time
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from capture_protocol import optical_clock
from multiview.live import (
    ClockState,
    FrameData,
    FramePacket,
    LiveOptions,
    LiveVideoSource,
    StreamProcessingError,
    StreamSynchronizer,
    Timing,
    Verdict,
)
from multiview.sources import Clock, Frame, VideoSource
from tests.support.rtsp import INSTALL, RtspServer, is_available

pytestmark = pytest.mark.skipif(not is_available(), reason=f"needs GStreamer: {INSTALL}")

S = 1_000_000_000
MS = 1_000_000
PATIENCE_S = 20.0
"""A step that takes longer has failed; nothing depends on how long it takes."""


def shown_ns(image: np.ndarray) -> int:
    """The instant that a BGR picture shows (green is nearest to its brightness)."""
    return optical_clock.read(np.ascontiguousarray(image[:, :, 1]))[1].instant_ns


def until(
    items: Iterator[FramePacket] | Iterator[Frame], is_last: Callable[[object], bool]
) -> list:
    """Items up to the first that fulfils the condition."""
    deadline_s = time.monotonic() + PATIENCE_S
    seen = []
    for item in items:
        seen.append(item)
        if is_last(item):
            return seen
        assert time.monotonic() < deadline_s, "waited in vain"
    raise AssertionError("the stream ended")


def statuses(packet: FramePacket) -> tuple[str, ...]:
    return tuple(data["frame_status"] for data in packet.values())


def errors_ms(frames: list[FrameData]) -> np.ndarray:
    return np.array([data["time_ns"] - shown_ns(data["frame"]) for data in frames]) / MS


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_packets_hold_frames_of_one_instant(transport: str) -> None:
    """Three rates, unlike phases, B-frames: stated times against what the pictures show."""
    cameras = ("a:15", "b:25:phase=7", "c:30:phase=3,b", "d:30:phase=21")
    options = LiveOptions(transport=transport)
    with RtspServer(*cameras) as server:
        cams = [{"source": url} for url in server.urls]
        with StreamSynchronizer(cams, 1.0, 5, -1, options=options) as streams:
            packets = [streams.get_frame_packet(PATIENCE_S) for _ in range(45)]
    okay = [packet for packet in packets if len(packet.okay) == 4]
    assert len(okay) >= 43, Counter(map(statuses, packets))
    frames = [data for packet in okay for data in packet.values()]
    errors = errors_ms(frames)
    assert abs(np.median(errors)) <= 0.5
    assert np.abs(errors).max() < 5, "a one-frame outlier"
    assert all(abs(e) * MS <= f["error_bound_ns"] for e, f in zip(errors, frames, strict=True))
    for packet in okay:
        truth = [shown_ns(data["frame"]) for data in packet.values()]
        assert max(truth) - min(truth) <= S / 15 / 2
        assert abs(max(truth) - min(truth) - packet.spread_ns) <= 2 * packet.error_bound_ns
    assert set(np.round(np.diff([p.time_ns for p in okay]) / S * 15)) == {1}
    assert {packet[2]["frame_type"] for packet in okay} >= {"P", "B"}
    assert {f["timing"] for f in frames} == {Timing.BACK_DATED, Timing.SENDER_REPORT}


def test_a_packet_holds_what_its_description_says() -> None:
    with (
        RtspServer("a:25") as server,
        StreamSynchronizer([{"source": server.urls[0]}]) as streams,
    ):
        frames = [streams.get_frame_packet(PATIENCE_S)[0] for _ in range(40)]
    assert {data["frame_type"] for data in frames} == {"I", "P"}
    for data in frames:
        assert data["frame"].shape == (240, 320, 3) and data["frame"].dtype == np.uint8
        assert data["motion_vector"].dtype == np.int64
        assert data["motion_vector"].shape[1] == 10
        assert data["timestamp"] == data["time_ns"] / S
        if data["frame_type"] == "I":
            assert len(data["motion_vector"]) == 0
    assert any(len(data["motion_vector"]) for data in frames)
    vectors = np.concatenate([data["motion_vector"] for data in frames])
    assert set(vectors[:, 0]) == {-1}, "all refer to the past"
    assert (vectors[:, 9] > 0).all()


def test_a_camera_hangs_dies_and_comes_back_while_the_other_goes_on() -> None:
    options = LiveOptions(stall_timeout_s=2.5)
    with RtspServer("a:30") as steady, RtspServer("b:30:phase=5") as shaky:
        cams = [{"source": url} for url in (*steady.urls, *shaky.urls)]
        with StreamSynchronizer(cams, 1.0, 5, -1, options=options, max_lateness_s=1.5) as streams:
            both = ("FRAME_OKAY", "FRAME_OKAY")
            seen = until(streams, lambda packet: statuses(packet) == both)
            shaky.freeze()
            seen += until(streams, lambda packet: statuses(packet)[1] == "FRAME_DROPPED")
            seen += until(streams, lambda packet: statuses(packet)[1] == "FRAME_READ_ERROR")
            shaky.kill()
            seen += until(streams, lambda packet: statuses(packet)[1] == "CAP_BROKEN")
            assert "rtsp://" in streams.failures[1]
            with RtspServer("b:30:phase=5", port=shaky.port):
                seen += until(streams, lambda packet: statuses(packet) == both)
                again = [streams.get_frame_packet(PATIENCE_S) for _ in range(10)]
    steady_times = [p[0]["time_ns"] for p in seen if p[0]["time_ns"]]
    assert set(np.round(np.diff(steady_times) / S * 30)) == {1}, "the steady camera lost a frame"
    okay = [packet[1] for packet in again if statuses(packet) == both]
    assert len(okay) >= 8
    assert np.abs(errors_ms(okay)).max() < 5


@pytest.mark.parametrize("coding", ["", ",b"])
def test_pictures_that_refer_to_lost_ones_are_not_handed_out(coding: str) -> None:
    with RtspServer(f"a:30:loss=4{coding}") as server:
        cams = [{"source": server.urls[0]}]
        with StreamSynchronizer(cams, 1.0, 1_000, -1) as streams:
            packets = [streams.get_frame_packet(PATIENCE_S) for _ in range(75)]
    count = Counter(packet[0]["frame_status"] for packet in packets)
    assert count["FRAME_READ_ERROR"] > 10, count
    okay = [packet[0] for packet in packets if packet.okay]
    assert len(okay) > 10, count
    assert np.abs(errors_ms(okay)).max() < 5, "a stale picture"


def test_a_clock_that_jumps_is_caught() -> None:
    """One camera's clock is set wrong and put back; another's was wrong and is set right."""
    with RtspServer("wrong:25:period=0.5", "right:25:period=0.5") as server:
        server.jump("right", 30)
        wrong_url, right_url = server.urls
        with LiveVideoSource(wrong_url) as wrong, LiveVideoSource(right_url) as right:
            assert abs(until(right.frames(), lambda _: True)[0].time_ns - time.time_ns()) > 25 * S
            server.jump("wrong", -3)
            server.jump("right", 0)
            held = until(wrong.frames(), lambda f: f.metadata["clock"] == ClockState.HELD)
            followed = until(right.frames(), lambda f: f.metadata["time_break"] == 1)
            server.jump("wrong", 0)
            back = until(wrong.frames(), lambda f: f.metadata["clock"] == ClockState.STEADY)
            notes = wrong.get_metadata().notes
    doubtful = [f for f in held if f.metadata["clock"] == ClockState.IN_DOUBT]
    assert doubtful
    assert all(f.metadata["error_bound_ns"] > 2 * S for f in doubtful)
    for frame in (*held, *back, followed[-1]):
        assert abs(frame.time_ns - shown_ns(frame.image)) < 5 * MS
    assert [note.split(":")[0].split()[-1] for note in notes] == [Verdict.HELD, Verdict.RETURNED]
    assert notes[0].endswith(("step of -3000.0 ms", "step of -2999.9 ms", "step of -3000.1 ms"))


def test_a_sender_without_reports_is_marked() -> None:
    options = LiveOptions(report_wait_s=0.5)
    with RtspServer("mute:30:mute", "a:30") as server:
        cams = [{"source": url} for url in server.urls]
        with StreamSynchronizer(cams, 1.0, 5, -1, options=options) as streams:
            both = ("FRAME_OKAY", "FRAME_OKAY")
            packet = until(streams, lambda packet: statuses(packet) == both)[-1]
    mute, reporting = packet.values()
    assert mute["timing"] == Timing.ARRIVAL
    assert mute["error_bound_ns"] is None and packet.error_bound_ns is None
    assert reporting["timing"] != Timing.ARRIVAL and reporting["error_bound_ns"]
    assert mute["time_ns"] > shown_ns(mute["frame"]), "arrival is after capture"


def test_streams_that_are_too_far_apart_are_refused() -> None:
    with RtspServer("a:25", "b:25") as server:
        server.jump("b", 60)
        cams = [{"source": url} for url in server.urls]
        with StreamSynchronizer(cams, max_initial_stream_offset=2.0) as streams:
            with pytest.raises(StreamProcessingError, match=r"(59|60)\.\d+ s apart"):
                streams.get_frame_packet(PATIENCE_S)
            with pytest.raises(StreamProcessingError):
                streams.get_frame_packet(PATIENCE_S)


def test_a_live_stream_is_a_source() -> None:
    with RtspServer("a:25") as server, LiveVideoSource(server.urls[0], "door") as source:
        assert isinstance(source, VideoSource)
        metadata = source.get_metadata()
        assert (metadata.width, metadata.height, metadata.clock) == (320, 240, Clock.UTC)
        soon_ns = time.time_ns() + 300 * MS
        frame = source.frame_at(soon_ns)
        assert abs(frame.time_ns - soon_ns) <= 20 * MS + frame.uncertainty_ns
        half_a_second = list(source.frames(soon_ns, soon_ns + S // 2))
        assert len(half_a_second) in (12, 13)
        numbers = [frame.frame_number for frame in half_a_second]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        for frame in half_a_second:
            assert frame.is_valid and frame.camera_id == "door"
            assert abs(frame.time_ns - shown_ns(frame.image)) <= 3 * frame.uncertainty_ns
