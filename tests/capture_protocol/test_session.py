import itertools
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture_protocol import InputError, SegmentName, SessionFolder
from capture_protocol.publish import publish_text
from capture_protocol.session import ranges

names = st.builds(
    SegmentName,
    session=st.integers(1, 9_999_999),
    camera=st.from_regex(r"[a-z0-9][a-z0-9_-]{0,31}", fullmatch=True),
    part=st.integers(1, 99_999),
    segment=st.integers(0, 99_999_999),
    container=st.sampled_from(["mkv", "nut"]),
)


@given(names)
def test_a_segments_name_tells_what_it_is(name: SegmentName) -> None:
    assert SegmentName.parse(str(name)) == name


@given(st.sets(names.map(lambda name: replace(name, session=1, camera="cam0")), max_size=8))
def test_segments_come_in_the_order_of_their_numbers(found: set[SegmentName]) -> None:
    with TemporaryDirectory() as path:
        folder = SessionFolder(Path(path))
        folder.video("cam0").mkdir(parents=True)
        for name in found:
            (folder.video("cam0") / str(name)).touch()
        assert [path.name for path in folder.segments("cam0")] == [*map(str, sorted(found))]


@pytest.mark.parametrize("text", ["x.mkv", "000001_cam_p001.mkv", "000001_CAM_p001_s000001.mkv"])
def test_other_files_are_no_segments(text: str) -> None:
    assert SegmentName.parse(text) is None


@given(st.sets(st.integers(0, 60)))
def test_ranges_hold_exactly_their_slots(slots: set[int]) -> None:
    found = ranges(sorted(slots))
    assert {slot for first, last in found for slot in range(first, last + 1)} == slots
    assert all(later[0] > earlier[1] + 1 for earlier, later in itertools.pairwise(found))


def test_a_folder_without_a_plan_is_no_session(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no session folder"):
        SessionFolder(tmp_path).read_plan()
    assert SessionFolder(tmp_path).read_manifest() is None


def test_a_damaged_plan_is_named(tmp_path: Path) -> None:
    (tmp_path / "session.json").write_text("{")
    with pytest.raises(InputError, match="damaged"):
        SessionFolder(tmp_path).read_plan()


def test_a_published_file_replaces_the_old_one_whole(tmp_path: Path) -> None:
    path = tmp_path / "a"
    publish_text(path, "old")
    publish_text(path, "new", mode=0o600)
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [item.name for item in tmp_path.iterdir()] == ["a"]
