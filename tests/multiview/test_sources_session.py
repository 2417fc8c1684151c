"""Recorded sessions as sources: times equal the evidence, and pictures show those times."""

from pathlib import Path
from random import Random

import pytest

from capture_protocol import SessionFolder, optical_clock
from capture_protocol.events import LossPlace
from multiview.errors import SourceOpenError
from multiview.sources import Clock, FileVideoSource, Frame, SessionVideoSource, session_cameras
from multiview.sync import VideoIngestor, session_configs
from tests.multiview.clips import ffmpeg
from tests.support.recording import Recording, record

# Camera 1's connection broke after slot 25; its second part begins again at slot 20.
SPEC = Recording(slots=60, resend={1: (25, 20)}, lost={(0, 33): LossPlace.SENSOR})


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> SessionFolder:
    return SPEC.build(tmp_path_factory.mktemp("sessions") / "000007")


def seen_instant(frame: Frame) -> int:
    """The true exposure midpoint of the middle row, as drawn into the picture."""
    assert frame.picture is not None
    middle = optical_clock.read(frame.picture.luma)[1]
    assert middle.instant_ns is not None
    return middle.instant_ns


def test_times_equal_the_evidence_and_the_pictures(session: SessionFolder) -> None:
    with SessionVideoSource(session.path, "cam0") as source:
        frames = list(source.frames())
        assert len(frames) == 59
        for frame in frames:
            evidence = SPEC.record(0, int(str(frame.metadata["slot"])))
            assert frame.metadata["record"] == evidence
            assert frame.time_ns == evidence.midpoint_ns == seen_instant(frame)
            assert frame.uncertainty_ns == round(15_000 / 2.5758293)
        assert [frame.frame_number for frame in frames] == list(range(59))


def test_frames_sent_twice_count_once(session: SessionFolder) -> None:
    with SessionVideoSource(session.path, "cam1") as source:
        assert [record.slot for record in source.records] == list(range(60))
        metadata = source.get_metadata()
        assert metadata.complete
        assert metadata.notes == ("6 frames were sent twice and count once",)
        random = Random(1)
        for _ in range(100):
            slot = random.randrange(60)
            assert seen_instant(source.frame_by_number(slot)) == SPEC.record(1, slot).midpoint_ns


def test_metadata_tell_what_is_missing(session: SessionFolder) -> None:
    with SessionVideoSource(session.path, "cam0") as source:
        metadata = source.get_metadata()
    assert metadata.clock is Clock.UTC
    assert metadata.fps == pytest.approx(30, rel=1e-3)
    assert (metadata.total_frames, metadata.complete) == (59, False)
    assert metadata.notes == ("1 slots between the first and the last frame are missing",)


def test_seek_and_read_go_across_segments(session: SessionFolder) -> None:
    with SessionVideoSource(session.path, "cam0") as source:
        source.seek(SPEC.grid.time_ns(38) - 1_000_000)
        slots = [frame.metadata["slot"] for _ in range(4) if (frame := source.read_frame())]
        assert slots == [38, 39, 40, 41]
        assert source.frame_at(0).metadata["slot"] == 0
        assert source.frame_at(2**70).metadata["slot"] == 59
        source.seek(2**62)
        assert source.read_frame() is None


def test_frame_sets_of_a_session_follow_the_evidence(session: SessionFolder) -> None:
    with VideoIngestor(session_configs(session.path), reference="cam1") as ingestor:
        sets = list(ingestor.frame_sets())
    assert len(sets) == 60 - 1
    for found in sets:
        slots = {frame.metadata["slot"] for frame in found.valid.values()}
        assert len(slots) == 1
        midpoints = [SPEC.record(camera, int(str(*slots))).midpoint_ns for camera in (0, 1)]
        assert found.skew_ns == abs(midpoints[0] - midpoints[1])
        assert found.time_ns == midpoints[1]


@pytest.mark.parametrize("suffix", [".mp4", ".ts", ".nut"])
def test_a_copied_segment_keeps_its_evidence(
    session: SessionFolder, tmp_path: Path, suffix: str
) -> None:
    copied = tmp_path / f"copied{suffix}"
    ffmpeg("-i", session.segments("cam0")[0], "-c", "copy", copied)
    with FileVideoSource(copied, "cam0") as source:
        assert [record.slot for record in source.records] == list(range(20))
        assert all(seen_instant(frame) == frame.time_ns for frame in source.frames())
        assert source.get_metadata().clock is Clock.UTC


def test_an_unsealed_session_opens_and_says_so(tmp_path: Path) -> None:
    record(Recording(slots=20), tmp_path)
    with SessionVideoSource(tmp_path, "cam0") as source:
        metadata = source.get_metadata()
        assert (metadata.total_frames, metadata.complete) == (20, False)
        assert "not sealed" in metadata.notes[0]


def test_a_frame_without_evidence_is_left_out_with_a_note(tmp_path: Path) -> None:
    folder = record(Recording(slots=40, bare=frozenset({(0, 25)})), tmp_path)
    with SessionVideoSource(tmp_path, "cam0") as source:
        assert [record.slot for record in source.records] == [n for n in range(40) if n != 25]
        assert any("without evidence are left out" in n for n in source.get_metadata().notes)
    with FileVideoSource(folder.segments("cam0")[1], "cam0") as source:
        bare = source.frame_by_number(5)
        assert bare.metadata["estimated_time"]
        assert abs(bare.time_ns - SPEC.grid.time_ns(25)) < 100_000 < bare.uncertainty_ns


def test_what_is_no_session_is_refused(tmp_path: Path, session: SessionFolder) -> None:
    with pytest.raises(SourceOpenError, match="no session folder"):
        session_cameras(tmp_path)
    with pytest.raises(SourceOpenError, match="no camera 'cam9'"):
        SessionVideoSource(session.path, "cam9").open()
    assert session_cameras(session.path) == ["cam0", "cam1"]
