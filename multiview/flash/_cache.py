"""Row features, computed once per content: the same video under any name is not decoded twice."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from multiview.flash._errors import FlashInputError
from multiview.flash._features import Progress, RowFeatures, extract_features

CHUNK_BYTES = 1 << 20
FEATURES_VERSION = 1  # part of the key: raise it when the features' meaning changes


def default_cache_dir() -> Path:
    """Return the user's cache directory (XDG base directory specification)."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "tutti" / "flash"


def cached_features(
    path: Path, cache_dir: Path | None, progress: Progress, decoder_threads: int | None = None
) -> RowFeatures:
    """Return a video's row features, from the cache if its content is known there."""
    if cache_dir is None:
        return extract_features(path, progress, decoder_threads)
    entry = cache_dir / f"{content_key(path)}.npz"
    found = _load(entry)
    if found is None:
        found = extract_features(path, progress, decoder_threads)
        _store(entry, found)
    progress(1.0)
    return found


def content_key(path: Path) -> str:
    """Return a hash of the file's bytes and of the features' version."""
    digest = hashlib.blake2b(str(FEATURES_VERSION).encode(), digest_size=20)
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
    except OSError as error:
        raise FlashInputError(f"{path}: cannot be read: {error.strerror}") from error
    return digest.hexdigest()


def _load(entry: Path) -> RowFeatures | None:
    """A damaged entry is as good as none."""
    try:
        with np.load(entry, allow_pickle=False) as data:
            return RowFeatures(data["times_ns"], data["luminance"], float(data["time_step_ns"]))
    except (OSError, ValueError, KeyError, BadZipFile, FlashInputError):
        return None


def _store(entry: Path, features: RowFeatures) -> None:
    entry.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=entry.parent, suffix=".tmp", delete=False) as file:
        np.savez(
            file,
            times_ns=features.times_ns,
            luminance=features.luminance,
            time_step_ns=features.time_step_ns,
        )
        file.flush()
        os.fsync(file.fileno())
    Path(file.name).replace(entry)
