"""Keeps what was fetched: a folder per recipe, whole or not there, so nothing is fetched twice."""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path


def cached(
    cache: Path,
    name: str,
    recipe: str,
    fetch: Callable[[Path], None],
    is_current: Callable[[Path], bool] = lambda _: True,
) -> Path:
    """The folder that ``fetch`` fills, filled before or now.

    Args:
        cache: folder of all cached folders.
        name: what is in it, for people.
        recipe: everything that its content depends on; another recipe is another folder.
        fetch: fills an empty folder; on an error nothing is kept.
        is_current: whether a folder that was filled before is still right.
    """
    key = hashlib.sha256(recipe.encode()).hexdigest()[:12]
    folder = cache / f"{name}-{key}"
    if not folder.exists() or not is_current(folder):
        partial = cache / f"{folder.name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        fetch(partial)
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    return folder


def link(source: Path, target: Path) -> None:
    """Put a cached file at another place of the same disk without a copy, else with one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
