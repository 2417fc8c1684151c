"""Counts of refused peers, shared by all processes that answer the door."""

import fcntl
import json
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

REFUSALS_NAME = "refused.json"


@dataclass(frozen=True, slots=True)
class RefusalCounts:
    """Counts by reason in one small file.

    They are for the operator's eye: not synced to disk, and a damaged file starts anew.
    """

    path: Path

    def add(self, reason: str) -> None:
        """Count one refused peer."""
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "r+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            counts = _parse(file.read())
            counts[reason] += 1
            file.seek(0)
            file.truncate()
            json.dump(counts, file)

    def read(self) -> dict[str, int]:
        """All counts so far."""
        try:
            with self.path.open(encoding="utf-8") as file:
                fcntl.flock(file, fcntl.LOCK_SH)
                return dict(_parse(file.read()))
        except FileNotFoundError:
            return {}


def _parse(text: str) -> Counter[str]:
    try:
        data = json.loads(text or "{}")
        return Counter({str(reason): int(count) for reason, count in data.items()})
    except (ValueError, AttributeError, TypeError):
        return Counter()
