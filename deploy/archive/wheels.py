"""The wheelhouse: every wheel that servers, nodes and the controller need, for every target.

Lists beside the wheels name what a machine installs, by its Python: `server-3.11.txt` everything,
`node-3.11.txt` a fifth of it.
"""

import os
import re
import sys
import tomllib
from pathlib import Path

from capture_protocol import publish_text
from deploy.archive.cache import cached, link
from deploy.archive.commands import run
from deploy.archive.sources import copy, project_files
from deploy.archive.targets import Targets, platform_tags

NODE_PROJECTS = ("av", "numpy", "pydantic", "pyzmq", "rich", "sh", "typer")
"""What edge_agent and capture_protocol import, of the project's dependencies."""
CONTROLLER_PROJECTS = ("ansible-core", "pip")
"""pip itself: Debian's Python comes without it."""
CONSTRAINTS_NAME = "constraints.txt"


class Wheelhouse:
    """Fetches wheels of others, builds ours."""

    def __init__(self, project: Path, cache: Path) -> None:
        self._project = project
        self._cache = cache
        self._pins = read_pins((project / CONSTRAINTS_NAME).read_text(encoding="utf-8"))

    def fill(self, site: Path, targets: Targets) -> None:
        """Write wheels/<architecture>/ and controller/<architecture>/."""
        own = self._own_wheel()
        projects = dependencies(self._project)
        for architecture, python in targets.wheel_sets():
            wheels = site / "wheels" / architecture
            everything = self._fetched(architecture, python, projects)
            node = self._fetched(architecture, python, list(NODE_PROJECTS), within=everything)
            for wheel in [own, *everything]:
                link(wheel, wheels / wheel.name)
            _list(wheels / f"server-{python}.txt", [own, *everything])
            _list(wheels / f"node-{python}.txt", [own, *node])
            for wheel in self._fetched(architecture, python, list(CONTROLLER_PROJECTS)):
                link(wheel, site / "controller" / architecture / wheel.name)

    def _fetched(
        self,
        architecture: str,
        python: str,
        projects: list[str],
        within: list[Path] | None = None,
    ) -> list[Path]:
        """Wheels of projects and of all that they need; ``within``: only those are to be had."""
        sources = [f"--find-links={within[0].parent}", "--no-index"] if within else []
        command = [
            *("download", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"),
            *("--implementation", "cp", "--python-version", python),
            *(f"--platform={tag}" for tag in platform_tags(architecture)),
            *("--constraint", str(self._project / CONSTRAINTS_NAME)),
            *sorted(projects),
        ]

        def fetch(folder: Path) -> None:
            run(sys.executable, "-m", "pip", *command, *sources, "--dest", folder)

        name = f"wheels-{architecture}-{python}"
        folder = cached(self._cache, name, repr(command), fetch, self._is_as_pinned)
        return sorted(folder.glob("*.whl"))

    def _is_as_pinned(self, folder: Path) -> bool:
        """Whether all wheels have the versions of today's constraints; other pins do not matter."""
        wheels = [path.name.split("-")[:2] for path in folder.glob("*.whl")]
        return all(self._pins.get(_plain(name), version) == version for name, version in wheels)

    def _own_wheel(self) -> Path:
        """Our wheel of the files as they are now, built in a folder without old ones."""
        files = [
            path
            for path in project_files(self._project)
            if path.suffix in {".py", ".typed", ".html", ".toml", ".css", ".md"}
            or path.name == "LICENSE"
        ]
        texts = [(str(path), (self._project / path).read_text(encoding="utf-8")) for path in files]
        build = ["wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]

        def fetch(folder: Path) -> None:
            source = folder / "source"
            for path in files:
                copy(self._project / path, source / path)
            # Files of one date and wheels of one project give one wheel, whenever it is built.
            env = os.environ | {"SOURCE_DATE_EPOCH": "315532800"}
            run(sys.executable, "-m", "pip", *build, "--wheel-dir", folder, source, env=env)

        folder = cached(self._cache, "tutti-capture", repr(texts), fetch)
        return next(folder.glob("tutti_capture-*.whl"))


def dependencies(project: Path) -> list[str]:
    """What pyproject.toml requires of everyone."""
    with (project / "pyproject.toml").open("rb") as file:
        required: list[str] = tomllib.load(file)["project"]["dependencies"]
    return required


def read_pins(constraints: str) -> dict[str, str]:
    """Versions by the names of projects, as wheels write them."""
    pairs = (line.split("==") for line in constraints.splitlines() if "==" in line)
    return {_plain(name): version.strip() for name, version in pairs}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "_", name).lower()


def _list(path: Path, wheels: list[Path]) -> None:
    publish_text(path, "".join(f"{name}\n" for name in sorted(wheel.name for wheel in wheels)))
