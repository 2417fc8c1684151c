"""`manager prune`: only what is complete and old goes, and it goes at once or not at all."""

import json
import subprocess
import sys
import time
from pathlib import Path

from capture_protocol import Manifest
from control_server.rig.setup import RigWish, set_up
from control_server.session.counter import session_folder, session_numbers, take_number
from control_server.session.retention import DAY_NS, REMOVED_PREFIX, expired_sessions

NOW_NS = 1_800_000_000 * 10**9


def seal(storage: Path, age_days: float, complete: bool = True, now_ns: int = NOW_NS) -> int:
    """A session with a video and a manifest of that age."""
    number = take_number(storage)
    folder = session_folder(storage, number)
    (folder.path / "video").mkdir()
    (folder.path / "video" / "frames.mkv").write_bytes(b"pictures")
    manifest = Manifest(
        session=number,
        complete=complete,
        reason="" if complete else "cam0 is away",
        sealed_ns=now_ns - int(age_days * DAY_NS),
        last_slot=0,
        plan_sha256="",
        cameras=[],
        segments=[],
        logs=[],
    )
    folder.manifest_path.write_text(manifest.model_dump_json())
    return number


def test_only_complete_and_old_sessions_are_expired(tmp_path: Path) -> None:
    old, older = seal(tmp_path, 31), seal(tmp_path, 300)
    seal(tmp_path, 29)
    seal(tmp_path, 300, complete=False)
    take_number(tmp_path)
    damaged = seal(tmp_path, 300)
    session_folder(tmp_path, damaged).manifest_path.write_text("{")
    expired = expired_sessions(tmp_path, NOW_NS, 30)
    assert [folder.path.name for folder in expired] == [f"{old:06}", f"{older:06}"]


def prune(rig: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "control_server", "prune", "--rig", str(rig), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_removes_and_numbers_stay_taken(tmp_path: Path) -> None:
    place, _ = set_up(tmp_path, RigWish())
    now_ns = time.time_ns()
    gone, kept = seal(place.storage, 8, now_ns=now_ns), seal(place.storage, 6, now_ns=now_ns)
    interrupted = place.storage / f"{REMOVED_PREFIX}000099"
    interrupted.mkdir()
    looked = prune(tmp_path, "--older-than", "7", "--dry-run")
    assert "would remove" in looked.stdout
    assert session_numbers(place.storage) == [gone, kept]
    done = prune(tmp_path, "--older-than", "7", "--json")
    assert json.loads(done.stdout)["removed"] == [f"{gone:06}"]
    assert session_numbers(place.storage) == [kept]
    assert not list(place.storage.glob(f"{REMOVED_PREFIX}*"))
    assert prune(tmp_path, "--older-than", "0").returncode == 0
    assert session_numbers(place.storage) == []
    assert take_number(place.storage) == kept + 1
