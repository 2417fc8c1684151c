"""Tables of frame times that a recorder wrote beside its videos."""

from __future__ import annotations

import csv
from collections import defaultdict
from decimal import Decimal, InvalidOperation
from pathlib import Path

from multiview.errors import SyncConfigError
from multiview.sources import NS_PER_S

COLUMNS = ("cam_id", "frame_index", "frame_time")


def read_frame_times(table: str | Path) -> dict[str, list[int]]:
    """Times of every camera's frames in order of their index, in nanoseconds.

    The table is a CSV file with the columns ``cam_id``, ``frame_index`` and ``frame_time``
    (seconds on a clock that all cameras share), as Caliscope and others write it. Decimals are
    read exactly.

    Raises:
        SyncConfigError: the file is not there, lacks a column, or a row is no number.
    """
    path = Path(table)
    found: dict[str, dict[int, int]] = defaultdict(dict)
    for row in _rows(path):
        try:
            time_ns = round(Decimal(row["frame_time"]) * NS_PER_S)
            found[row["cam_id"]][int(row["frame_index"])] = time_ns
        except (InvalidOperation, ValueError, TypeError, OverflowError) as error:
            raise SyncConfigError(f"{path}: no frame index and time in {row}") from error
    return {camera: [times[k] for k in sorted(times)] for camera, times in found.items()}


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="") as text:
            table = csv.DictReader(text)
            rows = list(table)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SyncConfigError(f"frame times cannot be read from {path}: {error}") from error
    lacking = [name for name in COLUMNS if name not in (table.fieldnames or ())]
    if lacking:
        raise SyncConfigError(f"{path} has no column {', '.join(lacking)}")
    return rows
