"""The archive does what it is for: a controller without any network installs from it and works."""

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

SWITCH = "TUTTI_TEST_ARCHIVE"
PROJECT = Path(__file__).parents[2]
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
pytestmark = [
    pytest.mark.root,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(
        SWITCH not in os.environ,
        reason=f"set {SWITCH}=1, or run make test-archive (root, network or build/.cache; 5 min)",
    ),
    pytest.mark.skipif(shutil.which("unshare") is None, reason="apt install util-linux"),
]


def run(*command: str | Path, cwd: Path, **env: str) -> "subprocess.CompletedProcess[str]":
    """A program in a network namespace of its own: not even loopback is up."""
    return subprocess.run(
        ["unshare", "--net", *map(str, command)],
        cwd=cwd,
        env=os.environ | env,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An unpacked archive for this machine, set up without a network."""
    out = PROJECT / "build" / "test-archive"
    cache = PROJECT / "build" / ".cache"
    out.mkdir(parents=True, exist_ok=True)
    if not (out / ".cache").is_symlink():
        (out / ".cache").symlink_to(cache)
    cache.mkdir(exist_ok=True)
    build = [sys.executable, "-m", "deploy.archive", "--out", str(out), "--suite", "bookworm"]
    mine = ["--arch", platform.machine(), "--python", VERSION]
    began = time.monotonic()
    done = subprocess.run([*build, *mine], cwd=PROJECT, capture_output=True, text=True, check=False)
    if "Temporary failure" in done.stderr or "No matching distribution" in done.stderr:
        pytest.skip(f"no network, and not everything is in {cache}: {done.stderr.strip()[-200:]}")
    assert done.returncode == 0, done.stderr
    print(f"\nbuilt in {time.monotonic() - began:.0f} s: {done.stdout.splitlines()[-1]}")
    (packed,) = sorted(out.glob("tutti-site-*.tar"))
    folder = tmp_path_factory.mktemp("unpacked")
    subprocess.run(["tar", "--extract", "--file", packed, "--directory", folder], check=True)
    packed.unlink()
    began = time.monotonic()
    done = run("./setup.sh", cwd=folder / "site", PYTHON=sys.executable)
    assert done.returncode == 0, done.stdout + done.stderr
    print(f"set up without a network in {time.monotonic() - began:.0f} s")
    yield folder / "site"
    shutil.rmtree(folder)


def test_the_programs_run(site: Path) -> None:
    programs = site / ".venv/bin"
    for name in ("manager", "edge-agent"):
        done = run(programs / name, "--version", cwd=site)
        assert done.stdout.strip() == "0.1.0", done.stderr
    assert "sessions" in run(programs / "manager", "--help", cwd=site).stdout
    assert "Usage" in run(programs / "multiview", "--help", cwd=site).stdout
    ansible = run(programs / "ansible-playbook", "--version", cwd=site).stdout
    assert ansible.startswith("ansible-playbook [core 2.19")


def test_what_runs_is_what_was_shipped(site: Path) -> None:
    where = "import control_server, ansible; print(control_server.__file__, ansible.__file__)"
    done = run(site / ".venv/bin/python", "-c", where, cwd=site)
    assert [Path(path).is_relative_to(site / ".venv") for path in done.stdout.split()] == [True] * 2


def test_the_playbooks_read_a_rig(site: Path, tmp_path: Path) -> None:
    manager = site / ".venv/bin/manager"
    nodes = [f"--node-address=10.0.0.{10 + node}" for node in range(2)]
    made = run(manager, "init", "--fleet", "--address", "10.0.0.1", *nodes, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    inventory = [site / ".venv/bin/ansible-inventory", "-i", site / "ansible/inventory", "--list"]
    listed = run(*inventory, cwd=tmp_path, TUTTI_RIG=str(tmp_path / "rig.toml"))
    hosts = json.loads(listed.stdout)["_meta"]["hostvars"]
    assert {name: variables["ansible_host"] for name, variables in hosts.items()} == {
        "server": "10.0.0.1",
        "node0": "10.0.0.10",
        "node1": "10.0.0.11",
    }


def test_a_nodes_share_is_enough_for_the_agent(site: Path, tmp_path: Path) -> None:
    """Install what its list names, without a look at what our wheel asks for, and check a node."""
    wheels = site / "wheels" / platform.machine()
    names = (wheels / f"node-{VERSION}.txt").read_text().split()
    venv = tmp_path / "venv"
    assert run(sys.executable, "-m", "venv", venv, cwd=tmp_path).returncode == 0
    install = [venv / "bin/pip", "--isolated", "install", "--no-index", "--no-deps"]
    done = run(
        *install, *(wheels / name for name in names), cwd=tmp_path, PIP_CONFIG_FILE="/dev/null"
    )
    assert done.returncode == 0, done.stderr
    assert run(venv / "bin/edge-agent", "--version", cwd=tmp_path).stdout.strip() == "0.1.0"
    listed = run(venv / "bin/edge-agent", "cameras", "--json", cwd=tmp_path)
    assert listed.returncode == 0, listed.stderr
    size = sum((wheels / name).stat().st_size for name in names)
    whole = sum(wheel.stat().st_size for wheel in wheels.glob("*.whl"))
    print(f"a node's share: {size / 1e6:.0f} of {whole / 1e6:.0f} MB")
    assert size < whole / 3


def test_a_damaged_archive_is_refused(site: Path, tmp_path: Path) -> None:
    copy = tmp_path / "site"
    shutil.copytree(site, copy, ignore=shutil.ignore_patterns(".venv"), copy_function=os.link)
    (copy / "VERSION").unlink()
    (copy / "VERSION").write_text("0.0.0\n")
    done = run("./setup.sh", cwd=copy, PYTHON=sys.executable)
    assert done.returncode == 4
    assert "damaged" in done.stderr
    assert not (copy / ".venv").exists()
