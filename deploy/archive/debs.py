"""Debian packages beyond a base system, with an index that apt reads: one folder per suite.

apt fetches and checks them (signatures, checksums) with folders of its own, so that neither this
machine's sources nor its packages matter. Raspberry Pi OS takes the same packages: it is made from
Debian's.
"""

import hashlib
import os
from pathlib import Path
from string import Template

from capture_protocol import EnvironmentLackError, publish_text
from deploy.archive.cache import cached, link
from deploy.archive.commands import run
from deploy.archive.targets import Targets

WANTED = (
    "acl",
    "chrony",
    "ethtool",
    "linuxptp",
    "nftables",
    "python3",
    "python3-packaging",
    "python3-systemd",
    "python3-venv",
)
MIRROR = os.environ.get("TUTTI_MIRROR", "http://deb.debian.org/debian")
SECURITY_MIRROR = f"{MIRROR}-security"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_SOURCES = Template(
    """deb [signed-by=$keyring] $mirror $suite main
deb [signed-by=$keyring] $mirror $suite-updates main
deb [signed-by=$keyring] $security $suite-security main
"""
)
_SETTINGS = Template(
    """Dir "$folder";
Dir::State "$folder/state";
Dir::State::status "$folder/status";
Dir::Cache "$folder/cache";
Dir::Etc "$folder/etc";
Dir::Etc::sourcelist "$folder/etc/sources.list";
Dir::Etc::sourceparts "-";
APT::Architecture "$architecture";
APT::Architectures { "$architecture"; };
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Acquire::Languages "none";
"""
)


def fill_debs(site: Path, cache: Path, targets: Targets) -> None:
    """Write debs/<suite>-<architecture>/ with its `Packages`.

    Raises:
        EnvironmentLackError: Debian's keys are not installed.
        TuttiError: apt cannot fetch or verify.
    """
    if not KEYRING.exists():
        raise EnvironmentLackError(
            f"{KEYRING} is missing", hint="sudo apt install debian-archive-keyring"
        )
    for suite, architecture in targets.deb_sets():
        recipe = repr((suite, architecture, MIRROR, WANTED, _SOURCES.template, _SETTINGS.template))

        def fetch(folder: Path, suite: str = suite, architecture: str = architecture) -> None:
            _fetch(folder, suite, architecture)

        name = f"{suite}-{architecture}"
        folder = cached(cache, f"debs-{name}", recipe, fetch)
        for path in sorted(folder.iterdir()):
            link(path, site / "debs" / name / path.name)


def _fetch(folder: Path, suite: str, architecture: str) -> None:
    """Fill a folder with packages and their index."""
    apt = folder / "apt"
    _isolate(apt, suite, architecture)
    env = os.environ | {"APT_CONFIG": str(apt / "apt.conf"), "LC_ALL": "C"}
    run("apt-get", "--quiet", "update", env=env)
    base = _base_packages(run("apt-cache", "dumpavail", env=env))
    beyond = _files(env, [*base, *WANTED]) - _files(env, base)
    run("apt-get", "--quiet", "--yes", "--download-only", "install", *base, *WANTED, env=env)
    for name in sorted(beyond):
        (apt / "cache/archives" / name).rename(folder / name)
    run("rm", "--recursive", str(apt))
    publish_text(folder / "Packages", index(sorted(folder.glob("*.deb"))))


def _isolate(apt: Path, suite: str, architecture: str) -> None:
    for part in ("state/lists/partial", "cache/archives/partial", "etc/preferences.d"):
        (apt / part).mkdir(parents=True)
    publish_text(apt / "status", "")
    sources = _SOURCES.substitute(
        keyring=KEYRING, mirror=MIRROR, security=SECURITY_MIRROR, suite=suite
    )
    publish_text(apt / "etc/sources.list", sources)
    publish_text(apt / "apt.conf", _SETTINGS.substitute(folder=apt, architecture=architecture))


def _base_packages(available: str) -> list[str]:
    """What every Debian system has: packages of priority `required`, from `apt-cache dumpavail`."""
    names = {
        stanza.partition("Package: ")[2].partition("\n")[0]
        for stanza in available.split("\n\n")
        if "\nPriority: required\n" in stanza
    }
    return sorted(names)


def _files(env: dict[str, str], packages: list[str]) -> set[str]:
    """File names that apt would fetch to install packages on an empty system."""
    said = run("apt-get", "--quiet", "--yes", "--print-uris", "install", *packages, env=env)
    return {line.split()[1] for line in said.splitlines() if line.startswith("'")}


def index(packages: list[Path]) -> str:
    """The text of `Packages`: each file's control fields, size and checksum."""
    return "\n".join(_stanza(path) for path in packages)


def _stanza(path: Path) -> str:
    data = path.read_bytes()
    control = run("dpkg-deb", "--field", path).rstrip("\n")
    checksum = hashlib.sha256(data).hexdigest()
    return f"{control}\nFilename: ./{path.name}\nSize: {len(data)}\nSHA256: {checksum}\n"
