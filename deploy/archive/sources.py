"""The project's own files in the archive: playbooks, units, documentation, the set-up script."""

import shutil
import tomllib
from pathlib import Path

from deploy.archive.commands import run

FOLDERS = ("ansible", "docs", "systemd")
SETUP = Path("deploy/archive/setup.sh")
PACKAGES = ("capture_protocol", "control_server", "edge_agent", "multiview")
PROJECT_FILES = ("pyproject.toml", "README.md", "LICENSE")


def version(project: Path) -> str:
    """The project's version and the commit: `0.1.0-g1234abcd`, with `-changed` if files differ."""
    with (project / "pyproject.toml").open("rb") as file:
        number = tomllib.load(file)["project"]["version"]
    commit = run("git", "describe", "--always", "--abbrev=8", "--dirty=-changed", cwd=project)
    return f"{number}-g{commit.strip().rpartition('-g')[2]}"


def project_files(project: Path) -> list[Path]:
    """What our wheel is made of, relative to the project."""
    return _listed(project, *PACKAGES, *PROJECT_FILES)


def copy_sources(project: Path, site: Path) -> None:
    """Put playbooks, units, documentation and set-up script into the archive's folder."""
    for path in _listed(project, *FOLDERS, "LICENSE"):
        copy(project / path, site / path)
    copy(project / SETUP, site / SETUP.name)


def copy(source: Path, target: Path) -> None:
    """A file with its right to be executed; never a link, which edits would reach."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


def _listed(project: Path, *paths: str) -> list[Path]:
    """Files that git knows or would add, sorted; so no caches and no leftovers."""
    listing = run(
        *("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *paths),
        cwd=project,
    )
    found = {Path(name) for name in listing.split("\0") if name}
    return sorted(path for path in found if (project / path).is_file())
