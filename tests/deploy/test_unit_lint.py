"""The gate of `make lint-systemd`: what we ship passes, and what is wrong does not."""

import shutil
from pathlib import Path

import pytest

from deploy.lint_units import HARDWARE, UNITS, judge_units, main

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="sudo apt-get install -y systemd"
)
SERVICE = """[Unit]
Description=For the test

[Service]
ExecStart=/opt/tutti/.venv/bin/manager serve
"""


def test_what_is_shipped_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main() == 0
    printed = capsys.readouterr().out
    shipped = {path.name for path in UNITS.iterdir() if path.is_file()}
    assert all(name in printed for name in shipped)
    assert set(HARDWARE) < shipped


def write(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text)
    return folder


def test_a_service_that_is_not_locked_up_fails(tmp_path: Path) -> None:
    (judged,) = judge_units(write(tmp_path, "open.service", SERVICE))
    assert judged.exposure is not None
    assert judged.exposure > judged.limit == 1.5
    assert (judged.complaints, judged.ok) == ("", False)


def test_a_unit_that_systemd_does_not_understand_fails(tmp_path: Path) -> None:
    (judged,) = judge_units(write(tmp_path, "odd.timer", "[Timer]\nOnBootSeconds=2min\n"))
    assert "OnBootSeconds" in judged.complaints
    assert not judged.ok


def test_cameras_are_allowed_more(tmp_path: Path) -> None:
    text = (UNITS / "edge-agent.service").read_text()
    write(tmp_path, "edge-agent.service", text)
    cameras, other = judge_units(write(tmp_path, "other.service", text))
    assert (cameras.limit, other.limit) == (2.5, 1.5)
    assert cameras.exposure == other.exposure
    assert (cameras.ok, other.ok) == (True, False)
