"""From real video files to a model, synchronised videos with sound, a preview and a chart."""

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from multiview.audio import HeardEvent, Microphone, read_sound
from multiview.errors import SourceNotFoundError
from multiview.flash import (
    Flash,
    FlashFootage,
    FlashInputError,
    FlashVideoSynchronization,
    RollingShutterCamera,
    extract_features,
    write_preview,
    write_synchronized_videos,
)
from multiview.flash._cache import cached_features, content_key
from multiview.flash._footage import Footage, read_footage
from multiview.flash.cli import app, main
from multiview.sources import FileVideoSource
from multiview.timeline import TimelineSet
from tests.multiview.flash_clips import worst_error

SECONDS = 14
WIDTH = 320  # narrow: only the rows matter
START_S = 1.3
SOUND_HZ = 16_000


@pytest.fixture(scope="module")
def footage() -> FlashFootage:
    cameras = (
        RollingShutterCamera("cam1", width=WIDTH, line_time_ns=55_000, exposure_ns=8e6),
        RollingShutterCamera(
            "cam2",
            Fraction(25),
            width=WIDTH,
            start_ns=round(START_S * 1e9),
            drift_ppm=40,
            line_time_ns=68_000,
            exposure_ns=10e6,
        ),
    )
    onsets = np.cumsum([2.1, 1.23, 0.87, 1.66, 0.95, 1.41, 1.04, 1.87])
    flashes = tuple(Flash(round(onset * 1e9)) for onset in onsets)
    return FlashFootage("short", cameras, flashes, SECONDS * 1_000_000_000)


@pytest.fixture(scope="module")
def paths(footage, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("flashes")
    event = HeardEvent(SECONDS, SOUND_HZ, seed=1)
    found = {}
    for camera in footage.cameras:
        sound = event.recorded(Microphone(camera.start_ns / 1e9, camera.drift_ppm, snr_db=20))
        found[camera.name] = folder / f"{camera.name}.mov"
        footage.write_video(camera.name, found[camera.name], sound)
    return found


@pytest.fixture(scope="module")
def sync(paths) -> FlashVideoSynchronization:
    found = FlashVideoSynchronization(use_cache=False)
    found.detect_flash_events(paths)
    found.synchronize()
    return found


def test_coded_video_is_timed_within_the_stated_bound(footage, sync):
    worst_ms, in_bounds = worst_error(footage, sync)
    assert worst_ms < 0.5
    assert in_bounds <= 1.0
    assert "cam2: time offset +1." in str(sync)
    assert "base camera" in str(sync)


def test_events_keep_their_documented_keys(sync):
    first = sync.events["cam1"][0]
    assert first["frame_time"] == pytest.approx(2100, abs=34)
    assert first["frame"] == round(first["frame_time"] / 1000 * 30)
    assert len(sync.events["cam1"]) == 8


def test_synchronized_sources_show_the_nearest_frames(footage, paths, sync):
    with (
        FileVideoSource(paths["cam1"], "cam1") as one,
        FileVideoSource(paths["cam2"], "cam2") as two,
    ):
        views = sync.get_synchronized_image_sources({"cam1": one, "cam2": two}, master="cam1")
        assert len(views["cam1"]) == len(views["cam2"])
        assert len(views["cam1"]) == pytest.approx((SECONDS - START_S) * 30, abs=2)
        instant, other = (views[name].frame_by_number(200) for name in ("cam1", "cam2"))
        shown = footage["cam2"].world_ns(other.source_time_ns, 270) - 5e6
        assert abs(shown - instant.time_ns) <= 20e6 + 1e6  # half of 25 fps' period
        assert 0 < other.uncertainty_ns < 100_000
        assert views["cam2"].get_image(200).shape == (540, WIDTH, 3)


def test_dropped_instants_are_kept_on_demand_without_a_picture(paths, sync):
    with (
        FileVideoSource(paths["cam1"], "cam1") as one,
        FileVideoSource(paths["cam2"], "cam2") as two,
    ):
        sources = {"cam1": one, "cam2": two}
        views = sync.get_synchronized_image_sources(sources, master="cam1", dropped=True)
        assert len(views["cam1"]) == SECONDS * 30
        before = views["cam2"].frame_by_number(0)  # the second camera was not running yet
        assert before.picture is None
        assert "no frame" in before.reason


def flash_instants_s(path: Path) -> list[float]:
    """Rough times of the flashes that a written video shows."""
    from multiview.flash._track import track_flashes

    return [event.frame_time_ns / 1e9 for event in track_flashes(extract_features(path)).events]


def test_written_videos_run_together_at_any_rate_and_keep_their_sound(sync, tmp_path):
    written = write_synchronized_videos(sync, tmp_path / "out", Fraction(30))
    shown, sounds, lengths = {}, {}, {}
    for name, path in written.items():
        with av.open(str(path)) as container:
            assert container.streams.video[0].average_rate == 30
            lengths[name] = container.streams.video[0].frames
        shown[name] = flash_instants_s(path)
        sounds[name] = read_sound(path, SOUND_HZ).samples
    assert lengths["cam1"] == lengths["cam2"] == pytest.approx((SECONDS - START_S) * 30, abs=2)
    assert len(shown["cam1"]) == 8
    apart = np.abs(np.subtract.outer(shown["cam1"], shown["cam2"]))  # frames may be repeated
    assert apart.min(axis=1).max() < 1.5 / 30
    common = slice(SOUND_HZ, 10 * SOUND_HZ)
    alike = np.corrcoef(sounds["cam1"][common], sounds["cam2"][common])[0, 1]
    assert alike > 0.9
    assert not list((tmp_path / "out").glob(".*"))


def test_the_preview_shows_both_cameras(sync, tmp_path):
    done = []
    write_preview(sync, tmp_path / "montage.mp4", Fraction(5), done.append)
    with FileVideoSource(tmp_path / "montage.mp4", "montage") as source:
        image = source.frame_at(5_000_000_000).image
    assert image.shape == (270, WIDTH, 3)
    assert image[:, : WIDTH // 2].mean() > 20
    assert image[:, WIDTH // 2 :].mean() > 20
    assert done[-1] == 1.0


def test_an_input_is_never_overwritten(paths, sync):
    before = paths["cam1"].read_bytes()
    with pytest.raises(FlashInputError, match="input video"):
        write_preview(sync, paths["cam1"])
    assert paths["cam1"].read_bytes() == before


def test_features_are_decoded_once_per_content(paths, tmp_path):
    cache, calls = tmp_path / "cache", []
    first = cached_features(paths["cam1"], cache, calls.append)
    assert len(calls) > 100
    renamed = tmp_path / "other name.mov"
    renamed.write_bytes(paths["cam1"].read_bytes())
    calls.clear()
    again = cached_features(renamed, cache, calls.append)
    assert calls == [1.0]
    assert np.array_equal(first.luminance, again.luminance)
    entry = cache / f"{content_key(renamed)}.npz"
    entry.write_bytes(entry.read_bytes()[:1000])
    repaired = cached_features(renamed, cache, calls.append)
    assert np.array_equal(first.luminance, repaired.luminance)


def run_command(arguments, monkeypatch, capsys) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["synchronizevideo", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out, captured.err


def test_videos_read_together_give_what_each_gives_alone(paths, sync):
    seen: dict[str, list[float]] = {name: [] for name in paths}
    together = read_footage(paths, None, lambda name, fraction: seen[name].append(fraction))
    assert list(together) == list(paths)
    for name, path in paths.items():
        alone = Footage.of(extract_features(path), path)
        assert together[name].track.events == alone.track.events
        assert np.array_equal(together[name].times_ns, alone.times_ns)
        assert seen[name] == sorted(seen[name])
        assert seen[name][-1] > 0.9


def test_an_unreadable_video_ends_the_reading_of_the_others(paths, tmp_path):
    missing = {"cam3": tmp_path / "missing.mp4"}
    reached: dict[str, float] = {}
    with pytest.raises(SourceNotFoundError, match=r"missing\.mp4"):
        read_footage(paths | missing, None, reached.__setitem__)
    assert all(fraction < 0.9 for fraction in reached.values())


def test_the_command_prints_a_model_that_reads_back(paths, tmp_path, monkeypatch, capsys, sync):
    chart = tmp_path / "chart.png"
    arguments = ["--cache-dir", tmp_path, "--model-json", "--audio", "--flash-chart", chart]
    code, out, _ = run_command([*arguments, *paths.values()], monkeypatch, capsys)
    assert code == 0
    lines = TimelineSet.from_json(out)
    assert lines.reference == "cam1"
    at = lines["cam2"].at(5_000_000_000, 100)
    assert at == pytest.approx(sync.timelines["cam2"].at(5_000_000_000, 100), abs=500_000)
    assert TimelineSet.from_yaml(lines.to_yaml()) == lines
    assert lines.extra["audio"]["cam2"]["agreeing"] > 0
    assert chart.read_bytes().startswith(b"\x89PNG")


def test_the_command_says_in_one_line_why_it_refuses(paths, tmp_path, monkeypatch, capsys):
    broken = tmp_path / "broken.mov"
    broken.write_bytes(b"no video")
    for arguments, reason in [
        ([paths["cam1"], broken], "broken"),
        ([paths["cam1"]], "at least two videos"),
        ([paths["cam1"], paths["cam1"]], "named twice"),
        (["--fps", "fast", *paths.values()], "no frame rate"),
    ]:
        code, out, err = run_command(["--cache-dir", tmp_path, *arguments], monkeypatch, capsys)
        assert code == 2
        assert reason in err
        assert "Traceback" not in out + err


def test_refusals_are_json_where_json_is_asked_for(tmp_path, monkeypatch, capsys):
    code, out, _ = run_command(["--json", tmp_path / "none.mov"], monkeypatch, capsys)
    assert code == 2
    assert "none.mov" in json.loads(out)["error"]["message"]


def test_help_shows_an_example(capsys):
    from typer.testing import CliRunner

    shown = CliRunner().invoke(app, ["--help"], terminal_width=120).output
    assert "Example: synchronizevideo" in shown
