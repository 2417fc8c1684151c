"""The sessions' disk is full: a clear word, and nothing that was recorded is lost."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from capture_protocol import SessionFolder
from tests.integration.conftest import MakeRig
from tests.integration.test_faults import CONTENT
from tests.support.rig import TestRig, audited, failed, wait_for

SMALL_DISK = "size=24m"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with 24 MB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root: sudo make test")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", SMALL_DISK, "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"this machine does not let root mount: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def store_on(rig: TestRig, disk: Path) -> None:
    """Move a rig's storage; before its manager starts."""
    path = rig.place.path
    text = path.read_text().replace('storage = "sessions"', f'storage = "{disk}"')
    path.write_text(text.replace("reserve_mb = 64", "reserve_mb = 1"))


def test_a_full_disk_is_named_and_what_was_recorded_stays(
    make_rig: MakeRig, small_disk: Path
) -> None:
    rig = make_rig()
    store_on(rig, small_disk)
    with rig:
        rig.wait_ready()
        folder = SessionFolder(Path(rig.ask("start", "--frames", "120")["folder"]))
        rig.wait_for_slot(folder, 35)
        filler = small_disk / "filler"
        fill(filler)
        problem = wait_for("status tells", lambda: problem_of(rig))
        assert "disk" in problem or "space" in problem or "room" in problem
        filler.unlink()
        rig.wait_sealed(folder)
    result = audited(folder)
    assert not failed(result) & (CONTENT | {"missing"}), result.model_dump_json(indent=1)


def test_no_session_starts_on_a_full_disk(make_rig: MakeRig, small_disk: Path) -> None:
    rig = make_rig()
    store_on(rig, small_disk)
    with rig:
        rig.wait_ready()
        fill(small_disk / "filler")
        done = rig.run("start", "--frames", "30")
        assert done.returncode in (3, 4)
        assert "MB" in done.stderr
        (small_disk / "filler").unlink()
        folder = rig.start("--frames", "30")
        rig.wait_sealed(folder)
    assert not failed(audited(folder)) & (CONTENT | {"missing"})


def fill(path: Path) -> None:
    """Take all the room that is left."""
    block = bytes(1 << 16)
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(block) == len(block):
                pass
        except OSError:
            return


def problem_of(rig: TestRig) -> str:
    status = rig.status()
    said = [*status["advice"], (status["session"] or {}).get("problem", "")]
    return " ".join(text for text in said if "disk" in text or "room" in text or "MB" in text)
