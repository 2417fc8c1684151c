"""Videos read for their flashes: several at a time, as many as there are cores."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from multiview.flash._cache import cached_features
from multiview.flash._features import RowFeatures
from multiview.flash._track import FlashTrack, track_flashes
from multiview.sources import Times

CameraProgress = Callable[[str, float], None]


@dataclass(frozen=True)
class Footage:
    """What is kept of a video after detection."""

    path: Path | None
    """None if its row features were given"""
    times_ns: Times
    track: FlashTrack

    @classmethod
    def of(cls, features: RowFeatures, path: Path | None = None) -> Footage:
        """Find the flashes in row features."""
        return cls(path, features.times_ns, track_flashes(features))


def read_footage(
    paths: Mapping[str, Path], cache_dir: Path | None, progress: CameraProgress
) -> dict[str, Footage]:
    """Decode videos, or recall them, and find their flashes.

    One video more than there are cores is read at a time, so that the cores stay busy while the
    last ones end. ``progress`` is called from several threads. The first error ends the others.

    Raises SourceError if a video cannot be read, FlashInputError if it is too short.
    """
    cores = os.cpu_count() or 1
    together = max(1, min(len(paths), cores + 1))
    decoder_threads = -(-cores // together)
    stop = Event()

    def read(name: str, path: Path) -> Footage:
        def report(fraction: float) -> None:
            if stop.is_set():
                raise CancelledError
            progress(name, fraction)

        return Footage.of(cached_features(path, cache_dir, report, decoder_threads), path)

    with ThreadPoolExecutor(together, thread_name_prefix="flashes") as pool:
        reads = {name: pool.submit(read, name, path) for name, path in paths.items()}
        try:
            for done in as_completed(reads.values()):
                done.result()
        except BaseException:
            stop.set()
            raise
    return {name: done.result() for name, done in reads.items()}
