"""The FFmpeg run of a part: where it cuts, what its names say, what a kill leaves."""

import os
import signal
import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from capture_protocol import EnvironmentLackError, Grid, InputError, SegmentName
from capture_protocol.session import SessionPlan
from control_server.segmenter.ffmpeg_command import (
    check_numbering,
    find_ffmpeg,
    segmenter_arguments,
)
from control_server.session.segment_scan import SegmentScan, scan_segment
from tests.support.fake_agent import streaming_nut
from tests.support.recording import Recording, _plan
from tests.support.served_rig import wait_until

GOP, SEGMENT = 10, 30


def plan(rate: Fraction, container: str) -> SessionPlan:
    spec = Recording(rate=rate, gop=GOP, segment_slots=SEGMENT, container=container)
    return _plan(spec)


def segmented(
    folder: Path, slots: list[int], rate: Fraction, container: str
) -> dict[int, SegmentScan]:
    """Segments by number, of a stream with these slots."""
    command = segmenter_arguments(find_ffmpeg(""), plan(rate, container), "cam0", 3, slots[0])
    process = subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    with streaming_nut(process.stdin, slots, rate, GOP):
        pass
    _, said = process.communicate(timeout=20)
    assert said == b""
    assert process.returncode == 0
    found = {}
    for path in folder.iterdir():
        name = SegmentName.parse(path.name)
        assert name == SegmentName(7, "cam0", 3, name.segment, container)
        found[name.segment] = scan_segment(path)
    return found


@pytest.mark.parametrize("container", ["mkv", "nut"])
@pytest.mark.parametrize("rate", [Fraction(30), Fraction(30000, 1001), Fraction(120)])
@pytest.mark.parametrize("first", [0, 30, 40, 37, 30 * 30_000 + 10])
def test_segments_hold_the_grids_multiples_wherever_a_part_begins(
    tmp_path: Path, container: str, rate: Fraction, first: int
) -> None:
    last = first + 70
    segments = segmented(tmp_path, list(range(first, last + 1)), rate, container)
    assert sorted(segments) == list(range(first // SEGMENT, last // SEGMENT + 1))
    for number, scan in segments.items():
        begin, end = max(first, number * SEGMENT), min(last, number * SEGMENT + SEGMENT - 1)
        assert np.array_equal(scan.slots, np.arange(begin, end + 1))
        assert scan.damaged == ""
        exact = np.array([Grid(0, rate).offset_ns(int(slot)) for slot in scan.slots])
        tolerance_ns = 500_001 if container == "mkv" else 1  # Matroska counts milliseconds
        assert np.abs(scan.container_ns - exact).max() <= tolerance_ns


def test_gaps_inside_and_across_a_cut_leave_the_cuts_alone(tmp_path: Path) -> None:
    slots = [*range(25), *range(35, 50), *range(52, 100)]
    segments = segmented(tmp_path, slots, Fraction(30), "mkv")
    assert {number: int(scan.slots[0]) for number, scan in segments.items()} == {
        0: 0,
        1: 35,
        2: 60,
        3: 90,
    }


def test_gap_over_a_whole_segment_shifts_names_but_loses_nothing(tmp_path: Path) -> None:
    slots = [*range(25), *range(95, 151)]
    segments = segmented(tmp_path, slots, Fraction(30), "mkv")
    held = np.concatenate([segments[number].slots for number in sorted(segments)])
    assert held.tolist() == slots
    assert all(int(scan.slots[0]) % GOP == 0 or scan.slots[0] == 95 for scan in segments.values())
    assert int(segments[max(segments)].slots[0]) == 150  # the names have caught up


@pytest.mark.parametrize("container", ["mkv", "nut"])
def test_killed_ffmpeg_leaves_its_last_segment_readable(tmp_path: Path, container: str) -> None:
    rate = Fraction(30)
    command = segmenter_arguments(find_ffmpeg(""), plan(rate, container), "cam0", 1, 0)
    process = subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.PIPE)
    with streaming_nut(process.stdin, list(range(45)), rate, GOP):
        last = tmp_path / str(SegmentName(7, "cam0", 1, 1, container))
        wait_until(lambda: last.exists() and last.stat().st_size > 1000, "the second segment")
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    slots = scan_segment(last).slots
    assert len(slots) > 0
    assert np.array_equal(slots, np.arange(SEGMENT, SEGMENT + len(slots)))


def test_percent_in_the_storage_path_is_only_a_name(tmp_path: Path) -> None:
    folder = tmp_path / "100%d"
    folder.mkdir()
    assert sorted(segmented(folder, list(range(40)), Fraction(30), "mkv")) == [0, 1]


def test_absurd_first_slot_is_refused() -> None:
    check_numbering(plan(Fraction(30), "mkv"), SEGMENT * 1_000_000 - 1)
    with pytest.raises(InputError, match="beyond the last segment number"):
        check_numbering(plan(Fraction(30), "mkv"), SEGMENT * 1_000_000)


def test_missing_ffmpeg_is_named() -> None:
    with pytest.raises(EnvironmentLackError, match="/nowhere/ffmpeg does not exist"):
        find_ffmpeg("/nowhere/ffmpeg")
    assert Path(find_ffmpeg("")).exists()
