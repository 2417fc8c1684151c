"""The `manager` command as people and programs meet it."""

import json
import socket
import subprocess
from pathlib import Path

import pytest

from control_server.session.catalogue import catalogue
from tests.support.served_rig import MANAGER, ServedRig, wait_until

COMMANDS = ("init", "serve", "shutdown", "start", "stop", "restart", "status", "sessions")


def manager(*arguments: str, **settings: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(MANAGER), *arguments], capture_output=True, text=True, check=False, **settings
    )


def test_help_names_every_command() -> None:
    said = manager("--help", env={"COLUMNS": "200", "PATH": "/usr/bin"}).stdout
    for command in (*COMMANDS, "preflight", "audit", "transcode", "demo"):
        assert f" {command} " in said


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_has_an_example(command: str) -> None:
    done = manager(command, "--help")
    assert done.returncode == 0
    assert f"Example: manager {command}" in done.stdout


def test_no_rig_is_bad_input_with_a_way_out(tmp_path: Path) -> None:
    done = manager("status", cwd=tmp_path)
    assert done.returncode == 2
    assert "no rig here" in done.stderr
    assert "manager init" in done.stderr
    assert "Traceback" not in done.stderr
    answer = manager("status", "--json", cwd=tmp_path)
    assert json.loads(answer.stdout)["error"]["hint"]
    assert "Traceback" in manager("--debug", "status", cwd=tmp_path).stderr


def test_wrong_options_are_bad_input(tmp_path: Path) -> None:
    assert manager("init", "--nodes", "0", "--dir", str(tmp_path)).returncode == 2
    assert manager("init", "--dir", str(tmp_path)).returncode == 0
    for arguments in (
        ("start", "--frames", "0"),
        ("start", "--frames", "5", "--duration", "1"),
        ("start", "--at", "noon"),
    ):
        done = manager(*arguments, "--rig", str(tmp_path))
        assert done.returncode == 2, arguments
    assert not (tmp_path / "run").exists()  # nothing was started for it


def test_a_session_by_hand(tmp_path: Path) -> None:
    with ServedRig(tmp_path, nodes=1) as rig:
        rig.add_agents()
        checked = rig.manager("preflight", "--json")
        assert checked.returncode == 0
        assert json.loads(checked.stdout)["ok"]
        stop = rig.manager("stop")
        assert (stop.returncode, "no session is recording" in stop.stderr) == (2, True)
        started = rig.manager("start", "--json")
        assert started.returncode == 0
        assert json.loads(started.stdout)["cameras"] == ["cam0"]
        again = rig.manager("start")
        assert (again.returncode, "session 1 is recording" in again.stderr) == (3, True)
        shown = rig.manager("status")
        assert "session 1 recording" in shown.stdout
        restarted = rig.manager("restart", "--frames", "10", "--json")
        assert restarted.returncode == 0
        answer = json.loads(restarted.stdout)
        assert (answer["stopped"]["complete"], answer["started"]["session"]) == (True, 2)
        rig.sealed(2)
        listed = json.loads(rig.manager("sessions", "--json").stdout)
        assert [(entry["session"], entry["state"]) for entry in listed] == [
            (1, "complete"),
            (2, "complete"),
        ]
        assert rig.manager("shutdown").returncode == 0
        assert "complete" in rig.manager("sessions").stdout  # needs no process


def test_watch_is_live_json(tmp_path: Path) -> None:
    with ServedRig(tmp_path, nodes=1) as rig:
        rig.serve()
        command = [str(MANAGER), "status", "--watch", "--json", "--rig", str(rig.place.path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watch:
            looks = [json.loads(watch.stdout.readline()) for _ in range(2)]
            watch.terminate()
        assert looks[1]["uptime_s"] > looks[0]["uptime_s"]
        assert looks[0]["advice"] == [
            "node node0 is silent: see that its agent runs and reaches this server"
        ]


def test_port_that_is_taken_is_an_error_of_the_environment(tmp_path: Path) -> None:
    with ServedRig(tmp_path, nodes=1) as rig:
        port = rig.place.config.server.stream_port
        with socket.create_server(("127.0.0.1", port)):
            done = rig.manager("status")
        assert done.returncode == 4
        assert f"cannot listen on 127.0.0.1 port {port}" in done.stderr


def test_second_server_of_a_rig_is_refused(tmp_path: Path) -> None:
    with ServedRig(tmp_path, nodes=1) as rig:
        rig.serve()
        done = rig.manager("serve")
        assert (done.returncode, "serves rig test already" in done.stderr) == (3, True)


def test_socket_is_for_its_owner_and_deep_folders_do_not_matter(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 100) / ("y" * 100)
    deep.mkdir(parents=True)
    with ServedRig(deep, nodes=1) as rig:
        rig.serve()
        assert rig.status().rig == "test"
        assert (rig.place.runtime / "manager.sock").stat().st_mode & 0o777 == 0o600
        assert rig.place.runtime.stat().st_mode & 0o777 == 0o700


def test_sigterm_ends_the_server_cleanly(tmp_path: Path) -> None:
    with ServedRig(tmp_path, nodes=1) as rig:
        command = [str(MANAGER), "serve", "--rig", str(rig.place.path)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
            wait_until(lambda: (rig.place.runtime / "manager.sock").exists(), "the server")
            server.terminate()
            _, said = server.communicate(timeout=20)
        assert server.returncode == 0
        assert "Traceback" not in said


def test_damaged_sessions_are_listed_as_such(tmp_path: Path) -> None:
    for name, text in (("000001", "{}"), ("000002", None)):
        (tmp_path / name).mkdir()
        if text is not None:
            (tmp_path / name / "session.json").write_text(text)
    assert [(entry.session, entry.state) for entry in catalogue(tmp_path)] == [
        (1, "damaged"),
        (2, "damaged"),
    ]
    assert catalogue(tmp_path / "nowhere") == []
