"""A newer archive than the one that a fleet was made from: the same software, one version on."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.fleet.lab import PROJECT

PACKAGES = ("capture_protocol", "control_server", "edge_agent", "multiview")
_BROKEN = 'raise SystemExit("this release does not start")\n'


def newer_site(site: Path, folder: Path, version: str, *, broken_agent: bool = False) -> Path:
    """An archive like ``site`` with the project at ``version``.

    Args:
        site: what is there; its files are linked to, not copied.
        folder: a new folder, on the same disk as ``site``.
        version: e.g. "0.1.1".
        broken_agent: the agent of this version does not start.
    """
    shutil.copytree(site, folder, copy_function=_link)
    wheel = _wheel(folder / "source", version, broken_agent)
    wheels = folder / "wheels/x86_64"
    (old,) = wheels.glob("tutti_capture-*.whl")
    old.unlink()
    shutil.copy(wheel, wheels)
    for names in wheels.glob("*.txt"):
        text = names.read_text(encoding="utf-8").replace(old.name, wheel.name)
        names.unlink()  # it is a link to the other archive's
        names.write_text(text, encoding="utf-8")
    return folder


def _link(source: str, target: str) -> None:
    Path(target).hardlink_to(source)


def _wheel(source: Path, version: str, broken_agent: bool) -> Path:
    source.mkdir()
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PROJECT / package, source / package, ignore=ignored)
    for name in ("LICENSE", "README.md"):
        shutil.copy(PROJECT / name, source)
    project = (PROJECT / "pyproject.toml").read_text(encoding="utf-8")
    text, count = re.subn(r'^version = ".*"$', f'version = "{version}"', project, flags=re.M)
    assert count == 1
    (source / "pyproject.toml").write_text(text, encoding="utf-8")
    if broken_agent:
        (source / "edge_agent/agent/agent.py").write_text(_BROKEN, encoding="utf-8")
    command = ["pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run(
        [sys.executable, "-m", *command, "--wheel-dir", source / "dist", source], check=True
    )
    (wheel,) = (source / "dist").glob("*.whl")
    return wheel
