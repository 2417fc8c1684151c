"""The parts of the site archive that need no network."""

import ast
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from capture_protocol import InputError, TuttiError
from deploy.archive.cache import cached
from deploy.archive.checksums import CHECKSUMS_NAME, write_checksums
from deploy.archive.debs import index
from deploy.archive.pack import pack
from deploy.archive.sources import PACKAGES, copy_sources, project_files
from deploy.archive.targets import Targets, parse_targets, platform_tags
from deploy.archive.wheels import NODE_PROJECTS, dependencies, read_pins

PROJECT = Path(__file__).parents[2]
IMPORTED_AS = {"pyzmq": "zmq"}
FROM_THE_SYSTEM = {"libcamera", "picamera2", "systemd"}
"""What nodes have from Debian or Raspberry Pi OS."""


def test_targets_are_all_unless_named() -> None:
    assert parse_targets("", "", "") == Targets()
    assert len(Targets().wheel_sets()) == len(Targets().deb_sets()) == 4
    one = parse_targets("aarch64", " 3.13", "trixie,")
    assert one.wheel_sets() == [("aarch64", "3.13")]
    assert one.deb_sets() == [("trixie", "arm64")]


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (("armv7l", "", ""), "no architecture"),
        (("", "3.9", ""), "no Python"),
        (("", "3.13t", ""), "no Python"),
        (("", "", "buster"), "no suite"),
    ],
)
def test_a_target_that_is_not_known_is_named(names: tuple[str, str, str], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        parse_targets(*names)


def test_wheels_may_not_ask_for_a_newer_c_library_than_bookworms() -> None:
    tags = platform_tags("aarch64")
    assert tags[0] == "manylinux_2_36_aarch64"
    assert {"manylinux_2_17_aarch64", "manylinux2014_aarch64"} <= set(tags)
    assert "manylinux_2_37_aarch64" not in tags


def test_a_nodes_share_of_the_wheels_is_what_its_code_imports() -> None:
    sources = [
        path
        for package in ("capture_protocol", "edge_agent")
        for path in Path(PROJECT, package).rglob("*.py")
    ]
    imported = {name for path in sources for name in imports(path.read_text(encoding="utf-8"))}
    others = imported - set(sys.stdlib_module_names) - set(PACKAGES) - FROM_THE_SYSTEM
    assert others == {IMPORTED_AS.get(name, name) for name in NODE_PROJECTS}
    required = {requirement.partition(">")[0] for requirement in dependencies(PROJECT)}
    assert set(NODE_PROJECTS) < required


def imports(text: str) -> set[str]:
    names = set()
    for statement in ast.walk(ast.parse(text)):
        if isinstance(statement, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in statement.names}
        elif isinstance(statement, ast.ImportFrom) and statement.module and not statement.level:
            names.add(statement.module.partition(".")[0])
    return names


def test_the_archive_has_the_projects_files_and_no_others(tmp_path: Path) -> None:
    copy_sources(PROJECT, tmp_path)
    assert (tmp_path / "systemd/edge-agent.service").is_file()
    assert (tmp_path / "docs/operations.md").is_file()
    assert (tmp_path / "setup.sh").stat().st_mode & 0o111
    assert not [path for path in tmp_path.rglob("*") if path.name in {"__pycache__", ".git"}]
    ours = {str(path) for path in project_files(PROJECT)}
    assert {"pyproject.toml", "control_server/rig/rig_template.toml"} <= ours
    assert not [name for name in ours if name.startswith(("tests/", "build/"))]


def test_equal_files_give_an_equal_archive(tmp_path: Path) -> None:
    for name in ("one", "two"):
        site = tmp_path / name / "site"
        for path in sorted(("b/c", "a", "b/a"), reverse=name == "two"):
            (site / path).parent.mkdir(parents=True, exist_ok=True)
            (site / path).write_text(path)
        (site / "a").chmod(0o777 if name == "one" else 0o700)
        pack(site, tmp_path / f"{name}.tar")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    with tarfile.open(tmp_path / "one.tar") as tar:
        members = [(member.name, member.mode, member.mtime) for member in tar]
    assert members == [("site/a", 0o755, 0), ("site/b/a", 0o644, 0), ("site/b/c", 0o644, 0)]


def test_checksums_are_what_sha256sum_reads(tmp_path: Path) -> None:
    for name in ("plain", "with space", "deep/er"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    write_checksums(tmp_path)
    check = ["sha256sum", "--check", "--quiet", CHECKSUMS_NAME]
    assert subprocess.run(check, cwd=tmp_path, check=False).returncode == 0
    (tmp_path / "deep/er").write_text("damaged")
    assert subprocess.run(check, cwd=tmp_path, capture_output=True, check=False).returncode == 1


def test_what_was_fetched_is_kept_and_what_failed_is_not(tmp_path: Path) -> None:
    fetched = []

    def fetch(folder: Path) -> None:
        fetched.append(folder)
        (folder / "file").write_text("whole")
        if len(fetched) == 1:
            raise TuttiError("the network is away")

    def is_whole(folder: Path) -> bool:
        return (folder / "file").read_text() == "whole"

    with pytest.raises(TuttiError):
        cached(tmp_path, "thing", "recipe 1", fetch)
    first = cached(tmp_path, "thing", "recipe 1", fetch)
    assert cached(tmp_path, "thing", "recipe 1", fetch) == first
    assert (first / "file").read_text() == "whole"
    assert cached(tmp_path, "thing", "recipe 2", fetch) != first
    assert len(fetched) == 3
    (first / "file").write_text("old")
    for _ in range(2):
        assert cached(tmp_path, "thing", "recipe 1", fetch, is_whole) == first
    assert len(fetched) == 4


def test_pins_are_found_by_the_names_of_wheels() -> None:
    pins = read_pins("Jinja2==3.1.6\nmdurl==0.1.2\nruamel.yaml-clib==1.0\n# comment\n")
    assert pins == {"jinja2": "3.1.6", "mdurl": "0.1.2", "ruamel_yaml_clib": "1.0"}


@pytest.mark.skipif(
    shutil.which("dpkg-deb") is None, reason="dpkg-deb is missing: apt install dpkg"
)
def test_apt_reads_the_index(tmp_path: Path) -> None:
    for name in ("first", "second"):
        control = tmp_path / name / "DEBIAN/control"
        control.parent.mkdir(parents=True)
        control.write_text(
            f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: nobody <n@example.org>\n"
            "Description: for a test\n of the index\n"
        )
        built = ["dpkg-deb", "--build", str(control.parents[1]), str(tmp_path / f"{name}_1.deb")]
        subprocess.run(built, check=True, capture_output=True)
    text = index(sorted(tmp_path.glob("*.deb")))
    (tmp_path / "Packages").write_text(text)
    stanzas = text.split("\n\n")
    assert [stanza.splitlines()[0] for stanza in stanzas] == ["Package: first", "Package: second"]
    known = apt(tmp_path, "apt-cache", "show", "second")
    assert "Filename: ./second_1.deb" in known
    assert " of the index" in known


def apt(folder: Path, *command: str) -> str:
    """Run an apt program that knows only ``folder``, after it has read the index."""
    for part in ("lists/partial", "archives/partial"):
        (folder / part).mkdir(parents=True)
    (folder / "source.list").write_text(f"deb [trusted=yes] file:{folder} ./\n")
    (folder / "status").touch()
    options = [
        f"-oDir::Etc::sourcelist={folder}/source.list",
        "-oDir::Etc::sourceparts=-",
        f"-oDir::State::lists={folder}/lists",
        f"-oDir::State::status={folder}/status",
        f"-oDir::Cache={folder}",
        "-oAPT::Sandbox::User=root",
    ]
    subprocess.run(["apt-get", *options, "update"], check=True, capture_output=True)
    program, *arguments = command
    done = subprocess.run(
        [program, *options, *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout
