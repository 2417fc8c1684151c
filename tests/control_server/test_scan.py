"""Scanning segment files: exact, and calm about damage."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capture_protocol import Codec, InputError
from control_server.session.segment_scan import scan_segment
from tests.support.recording import Recording, camera_name, make_record, record

RATES = [Fraction(30), Fraction(30000, 1001)]


@pytest.fixture(scope="module")
def segment(tmp_path_factory):
    """One ordinary segment: its folder's spec and its path."""
    spec = Recording(cameras=1, slots=20)
    folder = record(spec, tmp_path_factory.mktemp("scan") / "s")
    return spec, folder.segments(camera_name(0))[0]


@pytest.mark.parametrize("container", ["mkv", "nut"])
@pytest.mark.parametrize("rate", RATES)
def test_evidence_keys_and_times_are_those_recorded(tmp_path, container, rate):
    spec = Recording(cameras=1, slots=40, rate=rate, container=container)
    folder = record(spec, tmp_path / "s")
    first, second = map(scan_segment, folder.segments("cam0"))
    assert first.codec is Codec.H264
    assert (first.frames, first.without_evidence, first.damaged) == (20, 0, "")
    assert second.slots.tolist() == list(range(20, 40))
    expected = b"".join(make_record(spec, 0, slot).pack() for slot in range(20, 40))
    assert second.records.tobytes() == expected
    assert np.flatnonzero(second.keys).tolist() == [0, 10]
    limit_ns = 500_000 if container == "mkv" else 1
    claimed_ns = [spec.grid.offset_ns(slot) for slot in range(20, 40)]
    assert np.abs(second.container_ns - claimed_ns).max() <= limit_ns
    assert np.round(second.pts_slots).tolist() == list(range(20, 40))
    assert second.sizes.sum() < folder.segments("cam0")[1].stat().st_size


def test_pictures_without_evidence_are_counted(tmp_path):
    spec = Recording(cameras=1, slots=20, bare=frozenset({(0, 3), (0, 4)}))
    scan = scan_segment(record(spec, tmp_path / "s").segments("cam0")[0])
    assert (scan.frames, scan.without_evidence, len(scan.slots)) == (20, 2, 18)
    assert {3, 4}.isdisjoint(scan.slots.tolist())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(part=st.floats(0, 1))
def test_a_file_cut_anywhere_gives_the_frames_before_the_cut(segment, tmp_path, part):
    spec, path = segment
    cut = tmp_path / path.name
    cut.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    scan = scan_segment(cut)
    assert scan.slots.tolist() == list(range(len(scan.slots)))
    assert scan.records.tobytes() == b"".join(
        make_record(spec, 0, slot).pack() for slot in range(len(scan.slots))
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_flipped_bytes_never_raise(segment, tmp_path, data):
    _, path = segment
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 40))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = tmp_path / path.name
    cut.write_bytes(raw)
    scan = scan_segment(cut)
    assert scan.frames == len(scan.records) + scan.without_evidence
    assert len(scan.sizes) == len(scan.keys) == len(scan.container_ns) == len(scan.records)


@pytest.mark.parametrize("content", [b"", b"\0" * 5000, b"garbage" * 900])
def test_garbage_is_called_damaged(tmp_path, content):
    path = tmp_path / "x.mkv"
    path.write_bytes(content)
    scan = scan_segment(path)
    assert scan.damaged
    assert (scan.frames, scan.codec) == (0, None)


def test_a_missing_file_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        scan_segment(tmp_path / "none.mkv")
