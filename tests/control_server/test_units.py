"""The systemd units and what drives them."""

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from capture_protocol import EnvironmentLackError
from control_server.rig.place import find_rig
from control_server.rig.setup import RigWish, set_up
from control_server.segmenter.systemd_supervisor import SystemdSupervisor, socket_units

UNITS = Path(__file__).parents[2] / "systemd"
OURS = ("segmenter@.socket", "segmenter@.service", "tutti-manager.service")
ANALYZE = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(
    ANALYZE is None, reason="systemd-analyze is missing: apt install systemd"
)
WORST_EXPOSURE = 2.5
"""Of 10; what a unit that needs neither rights nor devices reaches with the usual switches."""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units as they would lie on a server, with programs that exist here."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    for name in ("python", "manager"):
        (bin_folder / name).symlink_to(sys.executable)
    for name in OURS:
        text = (UNITS / name).read_text().replace("/opt/tutti/.venv/bin", str(bin_folder))
        text = text.replace("ListenStream=%i", "ListenStream=127.0.0.1:7710")
        documentation = "Documentation=file:/opt/tutti/docs/manager.md"
        assert documentation in text
        (tmp_path / name).write_text(text)
    return tmp_path


@needs_systemd
@pytest.mark.parametrize("unit", OURS)
def test_unit_is_clean(installed: Path, unit: str) -> None:
    done = subprocess.run(
        [str(ANALYZE), "verify", "--man=no", str(installed / unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@needs_systemd
@pytest.mark.parametrize("unit", [name for name in OURS if name.endswith(".service")])
def test_service_is_hardened(installed: Path, unit: str) -> None:
    done = subprocess.run(
        [str(ANALYZE), "security", "--offline=true", "--no-pager", str(installed / unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    (verdict,) = [line for line in done.stdout.splitlines() if "Overall exposure level" in line]
    assert float(verdict.split(":")[1].split()[0]) <= WORST_EXPOSURE


def test_units_listen_where_the_rig_says(tmp_path: Path) -> None:
    place, _ = set_up(tmp_path, RigWish(nodes=2, address="10.0.0.1"))
    assert socket_units(place) == [
        "segmenter@10.0.0.1:7710.socket",
        "segmenter@10.0.0.1:7711.socket",
    ]


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands in for systemctl where no systemd runs: notes its arguments."""
    program = tmp_path / "systemctl"
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return program


def script(program: Path, text: str) -> None:
    program.write_text(f'#!/bin/sh\necho "$@" >> {program}.log\n{text}\n')
    program.chmod(0o755)


def test_sockets_that_are_not_active_are_started(tmp_path: Path, systemctl: Path) -> None:
    place, _ = set_up(tmp_path / "rig", RigWish(nodes=2))
    script(systemctl, 'case "$*" in *is-active*7710*) exit 3;; esac')
    asyncio.run(SystemdSupervisor(place).open())
    assert Path(f"{systemctl}.log").read_text().splitlines() == [
        "--no-ask-password is-active --quiet segmenter@127.0.0.1:7710.socket",
        "--no-ask-password start segmenter@127.0.0.1:7710.socket",
        "--no-ask-password is-active --quiet segmenter@127.0.0.1:7711.socket",
    ]


def test_refusal_of_systemctl_is_passed_on(tmp_path: Path, systemctl: Path) -> None:
    place = find_rig(set_up(tmp_path / "rig", RigWish())[0].path)
    script(systemctl, "echo Access denied >&2; exit 1")
    with pytest.raises(EnvironmentLackError, match="Access denied"):
        asyncio.run(SystemdSupervisor(place).open())
    systemctl.unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(tmp_path))
        with pytest.raises(EnvironmentLackError, match="systemctl is missing"):
            asyncio.run(SystemdSupervisor(place).open())
