"""A camera's health, the ring of packets, and the checks of what a user asks for."""

import socket
import threading
import time
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture_protocol.errors import InputError
from multiview.errors import SourceClosedError, SourceOpenError, SourceStalledError
from multiview.live import (
    FramePacket,
    FrameStatus,
    LiveOptions,
    LiveVideoSource,
    StreamBrokenError,
    StreamSynchronizer,
    Timing,
)
from multiview.live._camera import Camera
from multiview.live._connection import check_url
from multiview.live._feed import LONGEST_PAUSE_S, reconnect_pauses
from multiview.live._packet import FrameData, no_frame
from multiview.live._packet_buffer import PacketBuffer
from multiview.live._stamp import Stamp
from tests.support.rtsp import free_port

STAMP = Stamp(1, 1, Timing.SENDER_REPORT)
CAM = {"source": "rtsp://127.0.0.1:1/cam"}


class TestCamera:
    def test_failed_reads_are_errors_first_and_a_broken_camera_at_last(self) -> None:
        camera = Camera(max_read_errors=2)
        assert camera.status is FrameStatus.DROPPED
        for expected in (FrameStatus.READ_ERROR, FrameStatus.READ_ERROR, FrameStatus.BROKEN):
            camera.connected()
            camera.failed(StreamBrokenError("gone"))
            assert camera.status is expected
        assert camera.reason == "gone"
        camera.took(STAMP, damaged=False)
        assert (camera.status, camera.reason) == (FrameStatus.DROPPED, "")

    def test_what_cannot_be_opened_is_broken_at_once(self) -> None:
        camera = Camera(max_read_errors=5)
        camera.failed(SourceStalledError("no answer"))
        assert camera.status is FrameStatus.BROKEN

    def test_damaged_pictures_count_as_failed_reads(self) -> None:
        camera = Camera(max_read_errors=1)
        camera.took(STAMP, damaged=True)
        assert camera.damaged_status is FrameStatus.READ_ERROR
        camera.took(STAMP, damaged=True)
        assert camera.damaged_status is FrameStatus.BROKEN

    def test_time_starts_anew_with_a_connection_or_a_set_clock(self) -> None:
        camera = Camera(0)
        stamps = [STAMP, STAMP, Stamp(1, 1, Timing.SENDER_REPORT, epoch=1)]
        camera.connected()
        assert [camera.took(stamp, damaged=False) for stamp in stamps] == [True, False, True]
        camera.exclude("too far off")
        assert camera.status is FrameStatus.BROKEN
        camera.connected()
        assert camera.took(stamps[-1], damaged=False)
        assert not camera.excluded


class TestPacketBuffer:
    @given(st.integers(1, 20), st.lists(st.integers(1, 50), max_size=60))
    def test_keeps_the_newest_within_its_number_and_memory(
        self, maxsize: int, sizes: list[int]
    ) -> None:
        buffer: PacketBuffer[int] = PacketBuffer(maxsize, max_bytes=100)
        for number, size in enumerate(sizes):
            buffer.put(number, size)
        kept = [buffer.get() for _ in range(len(buffer))]
        assert kept == list(range(len(sizes) - len(kept), len(sizes)))
        assert len(kept) <= maxsize and sum(sizes[number] for number in kept) <= 100
        assert buffer.overwritten == len(sizes) - len(kept)

    def test_an_unlimited_one_is_limited_by_memory(self) -> None:
        buffer: PacketBuffer[int] = PacketBuffer(-1, max_bytes=1_000)
        for number in range(500):
            buffer.put(number, 10)
        assert len(buffer) == 100


class TestFramePacket:
    @staticmethod
    def okay(time_ns: int, bound_ns: int | None) -> FrameData:
        data = no_frame(FrameStatus.DROPPED)
        data.update(frame_status="FRAME_OKAY", time_ns=time_ns, error_bound_ns=bound_ns)
        return data

    def test_spread_and_bound_are_those_of_the_frames_that_are_there(self) -> None:
        gone = no_frame(FrameStatus.BROKEN)
        packet = FramePacket(100, {0: self.okay(100, 5), 1: gone, 2: self.okay(130, 7)})
        assert (packet.spread_ns, packet.error_bound_ns) == (30, 7)
        assert set(packet.okay) == {0, 2}
        assert {value for key, value in gone.items() if key != "frame_status"} == {None}

    def test_a_frame_without_bound_leaves_the_packet_without(self) -> None:
        assert FramePacket(1, {0: self.okay(1, 5), 1: self.okay(1, None)}).error_bound_ns is None
        assert FramePacket(1, {0: no_frame(FrameStatus.BROKEN)}).error_bound_ns is None


class TestRequests:
    @pytest.mark.parametrize(
        ("changed", "words"),
        [
            ({"cams": []}, "1 to 64 cameras"),
            ({"cams": [{}]}, "camera 0 has no source"),
            ({"cams": [CAM, {"source": 3}]}, "camera 1 has no source"),
            ({"cams": [{"source": "clip.mp4"}]}, "no address of a live stream"),
            ({"cams": [{"source": "file:///etc/passwd"}]}, "no address of a live stream"),
            ({"cams": [{**CAM, "transport": "pigeon"}]}, "transport"),
            ({"max_initial_stream_offset": 0.0}, "max_initial_stream_offset"),
            ({"max_initial_stream_offset": float("nan")}, "max_initial_stream_offset"),
            ({"max_read_errors": -1}, "max_read_errors"),
            ({"frame_packet_buffer_maxsize": 0}, "frame_packet_buffer_maxsize"),
            ({"max_lateness_s": -1.0}, "max_lateness_s"),
        ],
    )
    def test_senseless_parameters_are_refused(self, changed: dict[str, object], words: str) -> None:
        threads = threading.active_count()
        with pytest.raises(InputError, match=words):
            StreamSynchronizer(**{"cams": [CAM], **changed})
        assert threading.active_count() == threads

    @pytest.mark.parametrize("name", ["open_timeout_s", "stall_timeout_s", "report_wait_s"])
    def test_senseless_limits_are_refused(self, name: str) -> None:
        with pytest.raises(InputError):
            LiveOptions(**{name: -1.0})

    def test_passwords_are_not_shown(self) -> None:
        assert check_url("rtsp://me:pa@ss@host:554/x") == "rtsp://me:***@host:554/x"
        assert check_url("rtsp://host/x") == "rtsp://host/x"

    def test_reconnecting_slows_down_to_a_limit(self) -> None:
        pauses = list(islice(reconnect_pauses(), 10))
        assert pauses[:3] == [0.25, 0.5, 1.0]
        assert max(pauses) == pauses[-1] == LONGEST_PAUSE_S


class TestNobodyThere:
    def test_cameras_that_cannot_be_reached_give_broken_packets(self) -> None:
        url = f"rtsp://127.0.0.1:{free_port()}/cam"
        with StreamSynchronizer([{"source": url}] * 2) as streams:
            packet = streams.get_frame_packet(timeout=10)
            assert [data["frame_status"] for data in packet.values()] == ["CAP_BROKEN"] * 2
            assert "Connection refused" in streams.failures[0]
        with pytest.raises(SourceClosedError):
            streams.get_frame_packet()
        assert list(streams) == []

    def test_a_source_that_cannot_be_reached_says_so(self) -> None:
        source = LiveVideoSource(f"rtsp://127.0.0.1:{free_port()}/cam")
        with pytest.raises(SourceOpenError, match="Connection refused"):
            source.open()
        with pytest.raises(SourceClosedError):
            source.read_frame()

    def test_a_server_that_accepts_and_is_silent_does_not_hang(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/cam"
            options = LiveOptions(open_timeout_s=0.3)
            with StreamSynchronizer([{"source": url}], options=options) as streams:
                assert streams.get_frame_packet(timeout=10)[0]["frame_status"] == "CAP_BROKEN"

    def test_noise_instead_of_a_stream_is_refused(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            answer = threading.Thread(target=self.answer_noise, args=(server,))
            answer.start()
            source = LiveVideoSource(f"http://127.0.0.1:{server.getsockname()[1]}/cam")
            with pytest.raises((SourceOpenError, SourceStalledError)):
                source.open()
            answer.join()

    @staticmethod
    def answer_noise(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(4_096)
            connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + bytes(range(256)) * 64)

    def test_waiting_for_a_packet_ends(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/cam"
            options = LiveOptions(open_timeout_s=1.0)
            with StreamSynchronizer([{"source": url}], options=options) as streams:
                start_s = time.monotonic()
                with pytest.raises(SourceStalledError):
                    streams.get_frame_packet(timeout=0.1)
                assert time.monotonic() - start_s < 5
