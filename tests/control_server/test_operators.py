"""Who may give the manager commands: three real users, one of them in the operators' group.

The manager runs as in its unit: a user of its own whose files belong to the operators' group.
"""

import contextlib
import grp
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from capture_protocol.publish import publish_text
from control_server.demo.local_rig import LocalWish, local_config
from control_server.manager.command_link import is_served
from control_server.rig.place import RIG_NAME, RigPlace
from control_server.rig.setup import RigWish, config_text, set_up
from tests.support.served_rig import wait_until

KEEPER, OPERATOR, STRANGER = 60_001, 60_002, 60_003
GROUP = "users"
"""A group that every Debian has; here it plays tutti-operators."""
SOURCES = Path(__file__).parents[2]
PROGRAMS = {"manager": "control_server", "edge-agent": "edge_agent.cli"}


def common_python() -> str | None:
    """This interpreter if all users may run it, else the system's of the same version."""
    wanted = f"{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (sys.executable, f"/usr/bin/python{wanted}"):
        with contextlib.suppress(OSError):
            command = [candidate, "-c", "pass"]
            if not subprocess.run(command, user=STRANGER, group=STRANGER, check=False).returncode:
                return candidate
    return None


PYTHON = common_python() if os.getuid() == 0 else None
pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.getuid() != 0, reason="other users are needed: run as root"),
    pytest.mark.skipif(
        os.getuid() == 0 and PYTHON is None,
        reason="other users may not run this Python: apt install python3 of the same version",
    ),
]


class OwnedRig:
    """A rig on this machine that KEEPER runs."""

    def __init__(self, folder: Path) -> None:
        config = local_config(LocalWish(nodes=1, rate="20"))
        shared = config.server.model_copy(update={"operators_group": GROUP})
        config = config.model_copy(update={"server": shared})
        publish_text(folder / RIG_NAME, config_text(config))
        self.place: RigPlace = set_up(folder, RigWish())[0]
        for path in [folder, *folder.rglob("*")]:
            os.chown(path, KEEPER, KEEPER)
        self._processes = [
            self._run("manager", "serve", "--rig", str(folder)),
            self._run("edge-agent", "run", "--config", str(folder / "nodes/node0/node.toml")),
        ]
        wait_until(lambda: is_served(self.place.runtime), "the manager")
        wait_until(lambda: self.manager(OPERATOR, "preflight").returncode == 0, "a green preflight")

    def _run(self, *command: str) -> "subprocess.Popen[bytes]":
        with (self.place.folder / f"{command[0]}.out").open("wb") as log:
            return subprocess.Popen(
                program(*command),
                user=KEEPER,
                group=grp.getgrnam(GROUP).gr_gid,
                extra_groups=[KEEPER],
                umask=0o027,
                env=environment(self.place.folder),
                stdout=log,
                stderr=log,
            )

    def manager(self, user: int, *command: str) -> "subprocess.CompletedProcess[str]":
        """A command as one of the three users."""
        return subprocess.run(
            program("manager", *command, "--rig", str(self.place.path)),
            user=user,
            group=user,
            extra_groups=[grp.getgrnam(GROUP).gr_gid] if user == OPERATOR else [],
            env=environment(Path("/tmp")),
            cwd="/",
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    def close(self) -> None:
        for process in reversed(self._processes):
            process.terminate()
        for process in self._processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(30)
            process.kill()


def program(name: str, *arguments: str) -> list[str]:
    return [str(PYTHON), "-m", PROGRAMS[name], *arguments]


def environment(home: Path) -> dict[str, str]:
    packages = sysconfig.get_path("purelib")
    return {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": f"{SOURCES}:{packages}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": str(home),
    }


@pytest.fixture(scope="module")
def rig() -> Iterator[OwnedRig]:
    folder = Path(tempfile.mkdtemp(prefix="tutti-operators-"))
    folder.chmod(0o755)  # pytest's own folders are closed to other users
    owned = OwnedRig(folder)
    try:
        yield owned
    finally:
        owned.close()
        shutil.rmtree(folder)


def test_an_operator_records_and_audits(rig: OwnedRig) -> None:
    started = rig.manager(OPERATOR, "start", "--duration", "600", "--json")
    assert started.returncode == 0, started.stderr
    session = json.loads(started.stdout)["session"]
    status = json.loads(rig.manager(OPERATOR, "status", "--json").stdout)
    assert status["session"]["session"] == session
    stopped = rig.manager(OPERATOR, "stop", "--json")
    assert json.loads(stopped.stdout)["complete"], stopped.stderr
    sessions = json.loads(rig.manager(OPERATOR, "sessions", "--json").stdout)
    assert [entry["session"] for entry in sessions] == [session]
    audited = rig.manager(OPERATOR, "audit", str(session), "--deep", "--json")
    assert audited.returncode == 0, audited.stdout + audited.stderr


def test_a_stranger_is_told_what_is_missing(rig: OwnedRig) -> None:
    for command in (("status",), ("preflight",), ("start", "--duration", "1"), ("stop",)):
        refused = rig.manager(STRANGER, *command)
        assert refused.returncode == 4
        assert refused.stderr.count("\n") == 2
        assert "operators_group" in refused.stderr


def test_secrets_are_the_managers_alone(rig: OwnedRig) -> None:
    secrets = [*rig.place.folder.rglob("*.secret"), *rig.place.folder.rglob("rig.key")]
    assert len(secrets) == 5
    for user in (OPERATOR, STRANGER):
        for secret in secrets:
            done = subprocess.run(
                ["cat", secret],
                user=user,
                group=user,
                extra_groups=[grp.getgrnam(GROUP).gr_gid] if user == OPERATOR else [],
                capture_output=True,
                check=False,
            )
            assert (done.returncode, done.stdout) == (1, b"")


def test_a_rig_that_may_not_be_read_says_so(rig: OwnedRig) -> None:
    rig.place.folder.chmod(0o700)
    try:
        refused = rig.manager(OPERATOR, "status")
    finally:
        rig.place.folder.chmod(0o755)
    assert refused.returncode == 2
    assert "may not look into" in refused.stderr


def test_a_group_that_is_not_there_is_named(tmp_path: Path) -> None:
    config = local_config(LocalWish(nodes=1))
    shared = config.server.model_copy(update={"operators_group": "nobody-knows"})
    publish_text(tmp_path / RIG_NAME, config_text(config.model_copy(update={"server": shared})))
    set_up(tmp_path, RigWish())
    done = subprocess.run(
        program("manager", "serve", "--rig", str(tmp_path)),
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 4
    assert "groupadd --system nobody-knows" in done.stderr
