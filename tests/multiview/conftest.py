"""Clips that several tests read: each is encoded once per run, also with several workers."""

import fcntl
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.multiview.clips import (
    Clip,
    cut_off,
    encode,
    halved,
    remuxed,
    steady,
    trimmed,
    varying,
)

SECONDS = 60
Recipe = Callable[["Library", Path], Clip]

RECIPES: dict[str, tuple[str, Recipe]] = {
    "steady": (".mp4", lambda _, path: encode(path, steady(SECONDS))),
    "steady-b": (
        ".mp4",
        lambda _, path: encode(
            path, steady(SECONDS), b_frames=2, container_options={"movflags": "+faststart"}
        ),
    ),
    "varying": (".mp4", lambda _, path: encode(path, varying(SECONDS, seed=1))),
    "varying-b": (".mkv", lambda _, path: encode(path, varying(SECONDS, seed=2), b_frames=3)),
    "halved": (".mp4", lambda _, path: encode(path, halved(SECONDS), b_frames=2)),
    "trimmed": (".mp4", lambda made, path: trimmed(made["steady-b"], path, "10.5", 315)),
    "avi": (".avi", lambda made, path: remuxed(made["steady-b"], path)),
    "raw": (".h264", lambda made, path: remuxed(made["steady-b"], path)),
    "transport": (".ts", lambda made, path: remuxed(made["steady-b"], path)),
    "truncated": (".mp4", lambda made, path: cut_off(made["steady-b"], path, 0.6)),
    "truncated-mkv": (".mkv", lambda made, path: cut_off(made["varying-b"], path, 0.6)),
}


class Library:
    """Clips by name, made when first asked for and shared by all workers of a run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(exist_ok=True)

    def __getitem__(self, name: str) -> Clip:
        suffix, recipe = RECIPES[name]
        note = self._folder / f"{name}.pickle"
        with (self._folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not note.exists():
                clip = recipe(self, self._folder / f"{name}{suffix}")
                note.write_bytes(pickle.dumps(clip))
        return pickle.loads(note.read_bytes())


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Library:
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if hasattr(request.config, "workerinput") else base
    return Library(shared / "clips")
