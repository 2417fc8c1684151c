"""Four real cameras, timed by the table that their recorder wrote."""

import csv
from collections import defaultdict
from decimal import Decimal
from pathlib import Path

import pytest

from multiview.sync import SetStatistics, VideoIngestor, VideoSourceConfig, read_frame_times

FOLDER = Path(__file__).parents[3] / "shared/data/charuco-4cam"
TABLE = FOLDER / "timestamps.csv"

pytestmark = pytest.mark.skipif(
    not TABLE.exists(), reason=f"real footage is not at {FOLDER} (it is not part of the project)"
)


@pytest.fixture(scope="module")
def implied() -> dict[int, dict[str, int]]:
    """Sync index → camera → time in nanoseconds, as the table has it."""
    groups: dict[int, dict[str, int]] = defaultdict(dict)
    with TABLE.open() as text:
        for row in csv.DictReader(text):
            time_ns = int(Decimal(row["frame_time"]) * 10**9)
            groups[int(row["sync_index"])][f"cam_{row['cam_id']}"] = time_ns
    return groups


def test_frame_sets_are_those_that_the_table_implies(implied) -> None:
    times = read_frame_times(TABLE)
    configs = [
        VideoSourceConfig(FOLDER / f"cam_{k}.mp4", f"cam_{k}", frame_times_ns=times[str(k)])
        for k in range(4)
    ]
    period_s = 1 / 6
    with VideoIngestor(configs, reference="cam_0", sync_tolerance=period_s / 2) as ingestor:
        sets = []
        statistics = SetStatistics()
        for found in ingestor.frame_sets():
            statistics.add(found)
            sets.append({camera: frame.time_ns for camera, frame in found.frames.items()})
            assert all(f.image is not None and f.image.any() for f in found.frames.values())
    assert sets == [implied[index] for index in sorted(implied)]
    skews = [max(group.values()) - min(group.values()) for group in implied.values()]
    assert statistics.skews_ns == skews
    assert statistics.complete == 111
    assert statistics.skew_ms()["max"] == pytest.approx(42.73515, abs=1e-4)
