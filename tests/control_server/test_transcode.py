"""Evidence survives copying and transcoding to the nanosecond; the original survives everything."""

import json
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest
from typer.testing import CliRunner

from capture_protocol import (
    Codec,
    EnvironmentLackError,
    EventKind,
    InputError,
    length_prefix_size,
    read_misb_us,
)
from capture_protocol.session import SegmentName
from control_server.audit import Verdict, run_audit
from control_server.audit.event_log import read_log
from control_server.cli import app
from control_server.session.frames_table import read_frames
from control_server.session.segment_scan import scan_segment
from control_server.transcode import session as transcoding
from control_server.transcode.encoder import EncoderChoice, choose_encoder
from control_server.transcode.segment import TranscodeError, verify_segment
from control_server.transcode.session import (
    is_h265,
    replace_original,
    replacement_pending,
    transcode_session,
)
from tests.support.recording import SESSION, Recording, record, sha256

FAST = EncoderChoice("libx265", 28, "ultrafast")
SPEC = Recording(cameras=2, slots=24, gop=6, segment_slots=12, resend={1: (15, 12)})


def ffmpeg(*arguments) -> None:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *map(str, arguments)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def logged(folder, camera):
    """What the event log says, slot → packed record."""
    events = read_log(folder, camera, "capture", SESSION).payloads[EventKind.FRAME]
    raw = events.view(np.uint8).reshape(len(events), -1)[:, :92]
    return {int(slot): raw[at].tobytes() for at, slot in enumerate(events["slot"])}


def told(path):
    """What a file says, slot → packed record."""
    scan = scan_segment(path)
    assert (scan.without_evidence, scan.damaged) == (0, "")
    return {int(record["slot"]): record.tobytes() for record in scan.records}


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    return SPEC.build(tmp_path_factory.mktemp("sealed") / "s")


@pytest.fixture(scope="module")
def transcoded(sealed, tmp_path_factory):
    """The same session, transcoded beside its original."""
    folder = type(sealed)(shutil.copytree(sealed.path, tmp_path_factory.mktemp("h265") / "s"))
    transcode_session(folder, FAST, lambda count: None)
    return folder


@pytest.fixture
def copied(sealed, tmp_path):
    return type(sealed)(shutil.copytree(sealed.path, tmp_path / "copy"))


@pytest.mark.parametrize("target", ["mkv", "mp4", "ts"])
@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_evidence_equals_the_event_log_after_stream_copy(
    sealed, transcoded, tmp_path, target, codec
):
    folder = sealed if codec == "h264" else type(sealed)(transcoded.path / "h265")
    for camera in ("cam0", "cam1"):
        expected = logged(sealed, camera)
        found = {}
        for path in folder.segments(camera):
            copy = tmp_path / f"{path.stem}.{target}"
            ffmpeg("-i", path, "-c", "copy", copy)
            for slot, packed in told(copy).items():
                assert found.setdefault(slot, packed) == packed
        assert found == expected


@pytest.mark.parametrize("container", ["mkv", "nut"])
def test_evidence_and_slots_survive_the_segmenter(tmp_path, container):
    """NUT with pts = slot through FFmpeg's segment muxer, as the server receives it."""
    spec = Recording(cameras=1, slots=24, gop=6, segment_slots=24, container="nut")
    folder = record(spec, tmp_path / "s")
    ffmpeg(
        "-copyts", "-i", folder.segments("cam0")[0], "-c", "copy", "-f", "segment",
        "-segment_time", "0.4", "-segment_format", {"mkv": "matroska"}.get(container, container),
        tmp_path / f"%d.{container}",
    )  # fmt: skip
    scans = [scan_segment(tmp_path / f"{number}.{container}") for number in range(2)]
    assert [scan.slots.tolist() for scan in scans] == [[*range(12)], [*range(12, 24)]]
    expected = logged(folder, "cam0")
    for scan in scans:
        for row, slot in zip(scan.records, scan.slots.tolist(), strict=True):
            assert row.tobytes() == expected[slot]
        assert np.abs(scan.pts_slots - scan.slots).max() < (0.016 if container == "mkv" else 1e-6)


def test_the_transcoded_session_passes_the_deep_audit(sealed, transcoded):
    staged = type(sealed)(transcoded.path / "h265")
    result = run_audit(staged, deep=True).result
    assert result.verdict is Verdict.PASS, result.model_dump_json(indent=1)
    assert is_h265(staged)
    assert not is_h265(transcoded)
    assert sha256(transcoded.manifest_path) == sha256(sealed.manifest_path)


def test_slots_times_keys_boundaries_and_stamps_are_the_same(sealed, transcoded):
    staged = type(sealed)(transcoded.path / "h265")
    for camera in ("cam0", "cam1"):
        old, new = sealed.segments(camera), staged.segments(camera)
        assert [path.name for path in old] == [path.name for path in new]
        for before, after in zip(map(scan_segment, old), map(scan_segment, new), strict=True):
            assert after.codec is Codec.H265
            assert after.records.tobytes() == before.records.tobytes()
            assert after.container_ns.tolist() == before.container_ns.tolist()
            assert after.keys.tolist() == before.keys.tolist()
            assert misb_stamps(after.path, Codec.H265) == misb_stamps(before.path, Codec.H264)


def misb_stamps(path, codec):
    with av.open(path) as container:
        stream = container.streams.video[0]
        prefix = length_prefix_size(codec, stream.codec_context.extradata)
        return [
            read_misb_us(bytes(packet), codec, prefix)
            for packet in container.demux(stream)
            if packet.size
        ]


@pytest.mark.parametrize("container", ["mkv", "nut"])
@pytest.mark.parametrize("rate", [Fraction(30), Fraction(30000, 1001)])
def test_replacing_leaves_one_session_that_passes(tmp_path, container, rate):
    spec = Recording(cameras=1, slots=12, gop=6, segment_slots=6, container=container, rate=rate)
    folder = spec.build(tmp_path / "s")
    before = read_frames(folder, "cam0").records.tobytes()
    done = transcode_session(folder, FAST, lambda count: None)
    replace_original(folder)
    assert done.lowest_psnr_db > 25
    assert read_frames(folder, "cam0").records.tobytes() == before
    assert run_audit(folder, deep=True).result.verdict is Verdict.PASS
    assert is_h265(folder)
    assert sorted(path.name for path in folder.path.iterdir()) == [
        "events", "frames.parquet", "manifest.json", "session.json", "video",
    ]  # fmt: skip


@pytest.mark.parametrize("stop_at", [1, 13, 30])
def test_an_interrupted_run_leaves_the_original_and_goes_on_where_it_was(copied, stop_at):
    before = {path: sha256(path) for path in copied.path.rglob("*") if path.is_file()}
    done = 0

    def interrupt(count):
        nonlocal done
        done += count
        if done >= stop_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        transcode_session(copied, FAST, interrupt)
    assert {path: sha256(path) for path in before} == before
    finished = {
        path: sha256(path)
        for path in (copied.path / "h265/video").rglob("*.mkv")
        if SegmentName.parse(path.name)
    }
    assert len(finished) == {1: 0, 13: 1, 30: 2}[stop_at]
    transcode_session(copied, FAST, lambda count: None)
    assert {path: sha256(path) for path in finished} == finished
    staged = type(copied)(copied.path / "h265")
    assert run_audit(staged, deep=True).result.verdict is Verdict.PASS


def test_another_encoder_begins_anew(copied):
    transcode_session(copied, FAST, lambda count: None)
    staged = type(copied)(copied.path / "h265")
    small = staged.segments("cam0")[0].stat().st_size
    transcode_session(copied, EncoderChoice("libx265", 12, "ultrafast"), lambda count: None)
    assert staged.segments("cam0")[0].stat().st_size > small


@pytest.mark.parametrize("renames", range(7))
def test_a_replacement_that_is_killed_anywhere_is_completed_later(
    transcoded, tmp_path, monkeypatch, renames
):
    folder = type(transcoded)(shutil.copytree(transcoded.path, tmp_path / "copy"))
    originals = {sha256(path) for path in (folder.path / "video").rglob("*.mkv")}
    left = renames
    rename = Path.rename

    def dying(self, target):
        nonlocal left
        if not left:
            raise KeyboardInterrupt
        left -= 1
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", dying)
    if renames < 6:
        with pytest.raises(KeyboardInterrupt):
            replace_original(folder)
        kept = {sha256(path) for path in folder.path.rglob("*.mkv")}
        assert originals <= kept
        assert replacement_pending(folder)
    monkeypatch.setattr(Path, "rename", rename)
    replace_original(folder)
    assert not replacement_pending(folder)
    assert run_audit(folder, deep=True).result.verdict is Verdict.PASS
    assert is_h265(folder)


@pytest.mark.parametrize(
    ("other", "complaint"),
    [
        (Recording(cameras=1, slots=11, gop=6, segment_slots=12), "number of pictures"),
        (Recording(cameras=1, slots=12, gop=4, segment_slots=12), "key frames"),
        (Recording(cameras=1, slots=12, gop=6, segment_slots=12, seed=2), "evidence"),
        (
            Recording(cameras=1, slots=12, gop=6, segment_slots=12, container_shift_ns=10**9),
            "time stamps",
        ),
        (Recording(cameras=1, slots=12, gop=6, segment_slots=12, pictures_of=1), "dB"),
    ],
)
def test_an_unfaithful_transcode_is_refused(tmp_path, other, complaint):
    spec = Recording(cameras=1, slots=12, gop=6, segment_slots=12)
    original = record(spec, tmp_path / "original").segments("cam0")[0]
    folder = other.build(tmp_path / "other")
    transcode_session(folder, FAST, lambda count: None)
    target = type(folder)(folder.path / "h265").segments("cam0")[0]
    with pytest.raises(TranscodeError, match=complaint):
        verify_segment(original, target)


def test_an_unsealed_session_is_refused(copied):
    copied.manifest_path.unlink()
    with pytest.raises(InputError, match="not sealed"):
        transcode_session(copied, FAST, lambda count: None)


def test_a_changed_original_is_refused(copied):
    path = copied.segments("cam1")[0]
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(InputError, match="not as it was sealed"):
        transcode_session(copied, FAST, lambda count: None)


def test_a_full_disk_is_reported_and_loses_nothing(copied, monkeypatch):
    before = {path: sha256(path) for path in copied.path.rglob("*.*")}

    def full(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(transcoding, "_sync_file", full)
    with pytest.raises(EnvironmentLackError, match="the original is whole: No space") as stopped:
        transcode_session(copied, FAST, lambda count: None)
    assert "run the same command again" in stopped.value.hint
    assert {path: sha256(path) for path in before} == before


def test_an_encoder_that_works_is_chosen():
    assert choose_encoder(24, "ultrafast", hardware=False).name == "libx265"
    found = choose_encoder(24, "ultrafast")
    assert found.name.startswith("hevc_") or found.name == "libx265"
    with pytest.raises(EnvironmentLackError, match="preset"):
        choose_encoder(24, "no-such-speed", hardware=False)


def test_command_transcodes_replaces_and_knows_when_it_is_done(copied):
    arguments = ["transcode", str(copied.path), "--preset", "ultrafast", "--no-hardware"]
    ran = CliRunner().invoke(app, [*arguments, "--replace", "--json"])
    assert ran.exit_code == 0, ran.output
    summary = json.loads(ran.stdout)
    assert (summary["replaced"], summary["frames"]) == (True, 52)
    assert run_audit(copied, deep=True).result.verdict is Verdict.PASS
    again = CliRunner().invoke(app, arguments)
    assert "already" in again.stdout
