"""The audit finds what is wrong, where it is wrong, and nothing else."""

import json
import shutil
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest
from typer.testing import CliRunner

from capture_protocol import ClockSource, FrameFlag, InputError, LossPlace
from capture_protocol.rig import AuditSection
from control_server.audit import AuditResult, Verdict, run_audit
from control_server.audit.rebuild import rebuild_frames
from control_server.cli import app
from control_server.rig.place import find_rig
from tests.support.recording import (
    T0_NS,
    Recording,
    make_record,
    record,
    seal,
)


def failing(result: AuditResult) -> set[str]:
    return {
        check.name for check in result.checks if check.verdict in (Verdict.FAIL, Verdict.UNKNOWN)
    }


def audit(spec: Recording, path, *, deep: bool = False) -> AuditResult:
    return run_audit(spec.build(path / "s"), deep=deep).result


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A session without fault: build once, copy before changing."""
    return Recording().build(tmp_path_factory.mktemp("sound") / "s")


@pytest.fixture
def copied(sound, tmp_path):
    return type(sound)(shutil.copytree(sound.path, tmp_path / "copy"))


@pytest.mark.parametrize("container", ["mkv", "nut"])
@pytest.mark.parametrize("rate", [Fraction(30), Fraction(30000, 1001)])
def test_a_sound_session_passes_every_check(tmp_path, container, rate):
    result = audit(Recording(container=container, rate=rate), tmp_path, deep=True)
    assert result.verdict is Verdict.PASS, result.model_dump_json(indent=1)
    assert {check.verdict for check in result.checks} == {Verdict.PASS}
    assert result.exit_code == 0
    for camera in result.cameras:
        assert (camera.slots, camera.delivered, camera.missing.total) == (40, 40, 0)
        assert camera.optical.readable == 3 * 40
        assert camera.optical.error.max_ns == 0
    assert "80 of 80 slots" in result.sentence


def test_a_break_with_resent_frames_passes_and_counts_each_slot_once(tmp_path):
    result = audit(Recording(resend={1: (25, 20)}), tmp_path, deep=True)
    assert result.verdict is Verdict.PASS, result.model_dump_json(indent=1)
    assert result.cameras[1].delivered == 40
    assert result.cameras[1].parts == 2


def test_losses_are_placed_where_they_happened(tmp_path):
    lost = {
        (0, 3): LossPlace.AGENT,
        (0, 4): LossPlace.AGENT,
        (0, 17): LossPlace.SENSOR,
        (1, 5): LossPlace.ENCODER,
        (1, 28): LossPlace.NETWORK,
    }
    result = audit(Recording(lost=lost), tmp_path)
    assert failing(result) == {"missing"}
    first, second = (camera.missing for camera in result.cameras)
    assert (first.agent, first.sensor, first.total) == (2, 1, 3)
    assert (second.encoder, second.network, second.total) == (1, 1, 2)
    assert [camera.delivered for camera in result.cameras] == [37, 38]
    assert result.check("missing").measured == 5


def test_what_vanished_after_sealing_was_lost_in_the_file(tmp_path):
    spec = Recording()
    folder = spec.build(tmp_path / "s")
    path = folder.segments("cam1")[1]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    rebuild_frames(folder)
    result = run_audit(folder, deep=True).result
    lost = result.cameras[1].missing
    assert lost.file == lost.total > 0
    assert {"files", "account", "missing", "last_slot"} <= failing(result)
    assert "loss_places" not in failing(result)


def test_missing_slots_without_a_log_have_no_place(tmp_path):
    spec = Recording(lost={(0, 17): LossPlace.SENSOR}, logless=frozenset({0}))
    result = audit(spec, tmp_path)
    assert result.check("loss_places").verdict is Verdict.UNKNOWN
    assert result.cameras[0].missing.unknown == 1


def test_without_logs_and_losses_the_stream_alone_passes(tmp_path):
    result = audit(Recording(logless=frozenset({0, 1})), tmp_path)
    assert result.verdict is Verdict.PASS
    assert result.check("event_log").verdict is Verdict.SKIPPED


def test_a_hole_in_the_log_leaves_places_open_except_what_the_agent_said(tmp_path):
    spec = Recording(lost={(0, 3): LossPlace.AGENT, (0, 17): LossPlace.SENSOR})
    folder = record(spec, tmp_path / "s")
    log = folder.event_log("cam0", "capture")
    data = log.read_bytes()
    log.write_bytes(data[: 12 * 128] + data[13 * 128 :])
    seal(folder)
    result = run_audit(folder).result
    assert result.cameras[0].missing.unknown == 1
    assert result.cameras[0].missing.sensor == 1
    assert result.check("loss_places").verdict is Verdict.UNKNOWN
    assert "event_log" in failing(result)


def strange(change, when=lambda record: record.slot == 9):
    """A claim that changes some records."""
    return lambda record: replace(record, **change(record)) if when(record) else record


def shifted(ns):
    return strange(lambda r: {"frame_start_ns": r.frame_start_ns + ns}, lambda r: r.camera == 1)


FAULTS = {
    "late": (Recording(late=frozenset({(0, 9)})), {"late", "grid_error", "skew"}),
    "repeated": (Recording(repeated=frozenset({(0, 9)})), {"repeated"}),
    "release_error": (
        Recording(claim=strange(lambda r: {"release_ns": r.release_ns + 30_000_000})),
        {"release_error"},
    ),
    "grid_error": (
        Recording(claim=shifted(2_000_000), limits=AuditSection(skew_p99_us=9000)),
        {"grid_error"},
    ),
    "skew": (
        Recording(claim=shifted(1_500_000), limits=AuditSection(grid_error_p99_us=9000)),
        {"skew"},
    ),
    "clock_uncertainty": (
        Recording(claim=strange(lambda r: {"clock_uncertainty_ns": 2_000_000})),
        {"clock_uncertainty"},
    ),
    "clock_steps": (Recording(steps=frozenset({(1, 12)})), {"clock_steps"}),
    "clock_discipline": (
        Recording(
            claim=strange(lambda r: {"flags": r.flags | FrameFlag.UNSYNCHRONISED}),
            clock_source=ClockSource.UNKNOWN,
        ),
        {"clock_discipline"},
    ),
    "other_session": (Recording(claim=strange(lambda r: {"session": 8})), {"identity"}),
    "other_camera": (Recording(claim=strange(lambda r: {"camera": 5})), {"identity"}),
    "other_grid": (
        Recording(claim=strange(lambda r: {"slot_time_ns": r.slot_time_ns + 1})),
        {"identity"},
    ),
    "event_log_differs": (
        Recording(log_claim=strange(lambda r: {"frame_start_ns": r.frame_start_ns + 1})),
        {"event_log"},
    ),
    "stream_differs": (
        Recording(stream_claim=strange(lambda r: {"gain_milli": 1001})),
        {"event_log"},
    ),
    "release_differs": (Recording(release_log_shift_ns=1), {"event_log"}),
    "container_time": (Recording(container_shift_ns=2_000_000), {"container_time"}),
    "container_time_nut": (
        Recording(container_shift_ns=34_000_000, container="nut"),
        {"container_time"},
    ),
    "key_frames": (Recording(no_keys=frozenset({20})), {"key_frames"}),
    "segments": (Recording(cut={1: 3}), {"segments"}),
    "last_slot": (Recording(last_slots={1: 37}), {"last_slot", "missing"}),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_fails_its_check_and_no_other(tmp_path, name):
    spec, expected = FAULTS[name]
    result = audit(spec, tmp_path)
    assert failing(result) == expected, result.model_dump_json(indent=1)
    assert result.verdict is (Verdict.UNKNOWN if name == "clock_discipline" else Verdict.FAIL)
    assert result.exit_code == (2 if name == "clock_discipline" else 1)


def test_thresholds_of_the_plan_decide(tmp_path):
    limits = AuditSection(max_missing=1, max_late=1, grid_error_p99_us=2e4, skew_p99_us=2e4)
    spec = Recording(lost={(0, 3): LossPlace.SENSOR}, late=frozenset({(1, 9)}), limits=limits)
    result = audit(spec, tmp_path)
    assert result.verdict is Verdict.PASS
    assert (result.cameras[0].missing.sensor, result.cameras[1].late) == (1, 1)


def test_extra_key_frames_are_no_fault(tmp_path):
    assert audit(Recording(extra_keys=frozenset({13})), tmp_path).verdict is Verdict.PASS


def test_a_slot_called_lost_that_is_in_a_file_is_a_contradiction(copied):
    lost = Recording(lost={(0, 17): LossPlace.SENSOR})
    other = record(lost, copied.path.parent / "other")
    shutil.copy(other.event_log("cam0", "capture"), copied.event_log("cam0", "capture"))
    result = run_audit(copied).result
    assert {"loss_places", "event_log"} <= failing(result)


def test_an_unsealed_session_cannot_be_judged(copied):
    copied.manifest_path.unlink()
    result = run_audit(copied).result
    assert result.verdict is Verdict.UNKNOWN
    assert failing(result) == {"sealed", "files"}
    assert result.slots == 40


def test_a_session_sealed_as_incomplete_fails(copied):
    seal(copied, complete=False)
    assert failing(run_audit(copied).result) == {"sealed"}


def test_a_manifest_with_another_account_does_not_close(copied):
    manifest = copied.read_manifest()
    cameras = [manifest.cameras[0].model_copy(update={"frames": 39}), manifest.cameras[1]]
    copied.write_manifest(manifest.model_copy(update={"cameras": cameras}))
    assert failing(run_audit(copied).result) == {"account"}


def test_a_frame_beyond_the_last_slot_does_not_close(copied):
    seal(copied, last_slot=38)
    assert {"account", "last_slot"} <= failing(run_audit(copied).result)


def test_a_changed_plan_fails_every_audit(copied):
    plan = copied.read_plan()
    loose = plan.audit.model_copy(update={"max_missing": 99})
    copied.write_plan(plan.model_copy(update={"audit": loose}))
    assert failing(run_audit(copied).result) == {"files"}


def test_a_changed_picture_is_seen_by_the_deep_audit_only(copied):
    path = copied.segments("cam0")[1]
    data = bytearray(path.read_bytes())
    data[-600:-300] = bytes(300)
    path.write_bytes(data)
    assert run_audit(copied).result.verdict is Verdict.PASS
    assert "files" in failing(run_audit(copied, deep=True).result)


def test_a_missing_and_an_unknown_file_are_named(copied):
    first, second = copied.segments("cam0")
    second.rename(second.with_name(second.name.replace("s000001", "s000009")))
    result = run_audit(copied).result
    assert failing(result) == {"files"}
    assert "is missing" in result.check("files").sentence
    assert "not in the manifest" in result.check("files").sentence
    assert first.exists()


def test_an_altered_table_is_seen(copied):
    folder = copied
    spec = Recording(stream_claim=strange(lambda r: {"gain_milli": 1001}))
    other = spec.build(folder.path.parent / "other")
    shutil.copy(other.frames_path, folder.frames_path)
    result = run_audit(folder, deep=True).result
    assert failing(result) == {"files", "event_log", "video"}


def test_rebuilding_makes_the_same_table_from_the_video(copied):
    before = copied.frames_path.read_bytes()
    copied.frames_path.unlink()
    with pytest.raises(InputError, match="missing"):
        run_audit(copied)
    rebuild_frames(copied)
    assert copied.frames_path.read_bytes() == before
    assert run_audit(copied, deep=True).result.verdict is Verdict.PASS


def test_pictures_without_evidence_are_found(tmp_path):
    result = audit(Recording(bare=frozenset({(0, 25), (1, 26)})), tmp_path, deep=True)
    assert failing(result) >= {"missing", "video"}
    assert "2 pictures without evidence" in result.check("video").sentence


def test_a_picture_that_does_not_decode_is_found(tmp_path):
    spec = Recording(cameras=1)
    folder = record(spec, tmp_path / "s")
    path = folder.segments("cam0")[1]
    with av.open(path) as container:
        first_unit = bytes(next(container.demux(video=0)))
    data = bytearray(path.read_bytes())
    at = data.find(first_unit[-2000:])
    data[at : at + 1500] = np.random.default_rng(1).bytes(1500)
    path.write_bytes(data)
    seal(folder)
    result = run_audit(folder, deep=True).result
    assert "decode" in failing(result)
    assert path.name in result.check("decode").sentence


def test_a_damaged_event_record_is_found(copied):
    log = copied.event_log("cam0", "stream")
    data = bytearray(log.read_bytes())
    data[40 * 128 - 20] ^= 1
    log.write_bytes(data)
    seal(copied)
    assert failing(run_audit(copied, deep=True).result) == {"event_checksums"}


def test_pixels_that_show_another_time_than_claimed_are_found(tmp_path):
    result = audit(
        Recording(
            claim=shifted(1_200_000), limits=AuditSection(grid_error_p99_us=9000, skew_p99_us=9000)
        ),
        tmp_path,
        deep=True,
    )
    assert failing(result) == {"optical_clock"}
    assert result.check("optical_clock").measured == pytest.approx(1185)
    assert result.cameras[1].optical.error.p50_ns == 1_200_000
    assert result.cameras[0].optical.error.max_ns == 0


def test_simulated_pictures_without_a_readable_clock_leave_the_question_open(tmp_path):
    result = audit(Recording(clocks=False), tmp_path, deep=True)
    assert failing(result) == {"optical_clock"}
    assert result.check("optical_clock").verdict is Verdict.UNKNOWN


def test_footage_without_an_optical_clock_is_not_asked_for_one(tmp_path):
    result = audit(Recording(clocks=False, backend="file"), tmp_path, deep=True)
    assert result.verdict is Verdict.PASS
    assert result.check("optical_clock").verdict is Verdict.SKIPPED
    assert result.cameras[0].optical.readable == 0


def test_a_large_session_is_decoded_by_processes(tmp_path, monkeypatch):
    monkeypatch.setattr("control_server.audit.deep.SMALL_BYTES", 0)
    seen = []
    folder = Recording().build(tmp_path / "s")
    result = run_audit(folder, deep=True, progress=seen.append).result
    assert result.verdict is Verdict.PASS
    assert len(seen) == 4


def test_drift_jitter_and_skew_are_measured(tmp_path):
    ppm = 50

    def drifting(record):
        since_ns = record.slot_time_ns - T0_NS
        return replace(record, frame_start_ns=record.frame_start_ns + since_ns * ppm // 10**6)

    spec = Recording(claim=drifting)
    result = audit(spec, tmp_path)
    errors = [
        [
            drifting(make_record(spec, camera, slot)).midpoint_ns - spec.grid.time_ns(slot)
            for slot in range(40)
        ]
        for camera in range(2)
    ]
    for camera, expected in zip(result.cameras, errors, strict=True):
        assert camera.drift_ppm == pytest.approx(ppm, abs=2)
        assert camera.grid_error.max_ns == max(map(abs, expected))
        assert camera.interval_jitter.max_ns == max(map(abs, np.diff(expected)))
    skew = sorted(abs(a - b) for a, b in zip(*errors, strict=True))
    assert (result.skew.p50_ns, result.skew.p99_ns, result.skew.max_ns) == (
        skew[19],
        skew[39],
        skew[39],
    )


def test_command_prints_json_writes_the_report_and_exits_with_the_verdict(sound, tmp_path):
    report = tmp_path / "report.html"
    arguments = ["audit", str(sound.path), "--json", "--deep", "--html", str(report)]
    ran = CliRunner().invoke(app, arguments)
    assert ran.exit_code == 0, ran.output
    assert json.loads(ran.stdout)["verdict"] == "pass"
    assert AuditResult.model_validate_json(ran.stdout).deep
    assert report.stat().st_size > 5000


def test_command_shows_a_table_and_the_verdict(tmp_path):
    folder = Recording(lost={(0, 17): LossPlace.SENSOR}).build(tmp_path / "s")
    ran = CliRunner().invoke(app, ["audit", str(folder.path)], terminal_width=200)
    assert ran.exit_code == 1
    assert "FAIL" in ran.stdout
    assert "sensor" in ran.stdout


def test_command_finds_a_session_of_the_rig_by_its_number(sound, tmp_path):
    run = CliRunner().invoke
    assert run(app, ["init", "--dir", str(tmp_path), "--json"]).exit_code == 0
    rig = ["--rig", str(tmp_path)]
    shutil.copytree(sound.path, find_rig(tmp_path).storage / "000007")
    assert run(app, ["audit", "7", *rig, "--json"]).exit_code == 0
    missing = run(app, ["audit", "8", *rig])
    assert isinstance(missing.exception, InputError)
    assert "manager sessions" in missing.exception.hint


def test_command_says_where_a_report_cannot_go(sound, tmp_path):
    ran = CliRunner().invoke(app, ["audit", str(sound.path), "--html", str(tmp_path / "no/x.html")])
    assert isinstance(ran.exception, InputError)
    assert "cannot be written" in str(ran.exception)


def test_command_refuses_what_is_no_session(tmp_path):
    for session in ("nonsense", str(tmp_path)):
        ran = CliRunner().invoke(app, ["audit", session])
        assert isinstance(ran.exception, InputError)
        assert "manager sessions" in ran.exception.hint
