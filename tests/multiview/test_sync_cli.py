"""The `multiview` command, as a process."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from multiview.cli import app, main
from multiview.errors import SyncConfigError
from multiview.sync import read_frame_times
from tests.multiview.clips import encode, steady
from tests.support.recording import Recording, record


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "multiview.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("files")
    recipes = (("a", steady(2)), ("b", steady(2, 25)))
    return [encode(folder / f"{name}.mp4", ticks, size=(512, 64)).path for name, ticks in recipes]


def test_probe_says_what_is_there(files, tmp_path) -> None:
    record(Recording(slots=20), tmp_path / "session")
    done = run("probe", *files, tmp_path / "session", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [(m["camera_id"], m["total_frames"], m["clock"]) for m in found] == [
        ("a", 60, "own"),
        ("b", 50, "own"),
        ("cam0", 20, "utc"),
        ("cam1", 20, "utc"),
    ]
    assert "cam0: the session is not sealed" in run("probe", tmp_path / "session").stdout


def test_sets_counts_and_exports(files, tmp_path) -> None:
    export = tmp_path / "sets.csv"
    done = run(
        "sets", *files, "--offset", "b=0.1", "--tolerance", "20", "--export", export, "--json"
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["sets"] == summary["complete"] > 40
    assert 0 < summary["skew_ms"]["p50"] <= summary["skew_ms"]["max"] <= 40
    rows = list(csv.DictReader(export.open()))
    assert len(rows) == 2 * summary["sets"]
    first = {row["camera"]: int(row["time_ns"]) for row in rows[:2]}
    assert first["b"] >= 100_000_000
    assert max(abs(int(row["time_ns"]) - int(row["set_time_ns"])) for row in rows) <= 20_000_000
    assert "usable frames" in run("sets", *files).stdout


def test_synthesize_films_a_scene_with_its_truth(tmp_path) -> None:
    done = run(
        "synthesize", tmp_path, "--cameras", "2", "--seconds", "0.4", "--size", "320x180", "--json"
    )
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)) == {"cam1", "cam2"}
    truth = json.loads((tmp_path / "truth.json").read_text())
    assert truth["cameras"]["cam2"]["size"] == [320, 180]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "cam1.mp4",
        "cam2.mp4",
        "truth.json",
    ]


def test_mistakes_are_one_line_and_an_exit_code(files, tmp_path, capsys, monkeypatch) -> None:
    a, b = files
    cases = [
        (("probe", tmp_path / "none.mp4"), "not found"),
        (("probe", tmp_path), "no session folder"),
        (("sets", a), "At least 2 cameras"),
        (("sets", a, b, "--offset", "c=1"), "no camera c"),
        (("sets", a, b, "--offset", "1"), "CAMERA=NUMBER"),
        (("sets", a, b, "--rate", "fast"), "not a number"),
        (("sets", a, b, "--offset", "b=1e9"), "no instant in common"),
        (("sets", a, b, "--times", tmp_path / "none.csv"), "frame times cannot be read"),
        (("synthesize", tmp_path / "x", "--size", "big"), "not like 1280x720"),
    ]
    for arguments, reason in cases:
        monkeypatch.setattr(sys, "argv", ["multiview", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        assert (end.value.code, printed.out) == (2, ""), arguments
        assert reason in printed.err
        assert "Traceback" not in printed.err


def test_mistakes_are_json_or_a_traceback_where_asked(files, tmp_path) -> None:
    done = run("sets", files[0], "--json")
    assert "2 cameras" in json.loads(done.stdout)["error"]["message"]
    assert done.returncode == 2
    assert "Traceback" in run("--debug", "probe", tmp_path / "none.mp4").stderr


@pytest.mark.parametrize("command", ["probe", "sets", "synthesize"])
def test_help_shows_an_example(command: str) -> None:
    assert "Example: multiview" in CliRunner().invoke(app, [command, "--help"]).output


def test_a_table_of_times_is_read_exactly(tmp_path) -> None:
    table = tmp_path / "times.csv"
    table.write_text("cam_id,frame_index,frame_time\n1,7,0.2\n1,6,0.1\n0,1,1795000000.123456789\n")
    assert read_frame_times(table) == {"1": [10**8, 2 * 10**8], "0": [1_795_000_000_123_456_789]}
    for text, reason in (
        ("cam,frame_index,frame_time\n", "no column cam_id"),
        ("cam_id,frame_index,frame_time\n1,x,2\n", "no frame index"),
        ("cam_id,frame_index,frame_time\n1,2\n", "no frame index"),
        ("cam_id,frame_index,frame_time\n1,2,nan\n", "no frame index"),
    ):
        table.write_text(text)
        with pytest.raises(SyncConfigError, match=reason):
            read_frame_times(table)
