"""What the manager does with systemd's units."""

import asyncio
from pathlib import Path

import pytest

from capture_protocol import EnvironmentLackError
from control_server.rig.place import find_rig
from control_server.rig.setup import RigWish, set_up
from control_server.segmenter.systemd_supervisor import SystemdSupervisor, socket_units


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
