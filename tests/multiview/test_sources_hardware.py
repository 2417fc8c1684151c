"""A decoding device is used where one opens; where it fails, software gives the same frames."""

import shutil
from pathlib import Path
from random import Random

import pytest
from av.codec.hwaccel import hwdevices_available

from multiview.sources import FileVideoSource
from multiview.sources._hardware import hardware_device
from tests.multiview.clips import Clip, encode, shown_number, steady


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    return encode(
        tmp_path_factory.mktemp("device") / "clip.mkv", steady(8), size=(512, 64), b_frames=2
    )


def check_everywhere(source: FileVideoSource, count: int) -> None:
    assert [shown_number(frame) for frame in source.frames()] == list(range(count))
    random = Random(1)
    for _ in range(200):
        number = random.randrange(count)
        assert shown_number(source.frame_by_number(number)) == number


def test_the_metadata_name_what_decodes(clip: Clip) -> None:
    with FileVideoSource(clip.path, "cam") as source:
        check_everywhere(source, len(clip.shown))
        named = source.get_metadata().decoder
        assert named in ("software", hardware_device())
    with FileVideoSource(clip.path, "cam", hardware=False) as source:
        check_everywhere(source, len(clip.shown))
        assert source.get_metadata().decoder == "software"


def test_the_machine_is_asked_once(clip: Clip) -> None:
    hardware_device.cache_clear()
    for _ in range(3):
        with FileVideoSource(clip.path, "cam"):
            pass
    assert hardware_device.cache_info().misses == 1


@pytest.mark.parametrize("device", hwdevices_available())
def test_a_device_that_will_not_open_leaves_it_to_software(
    clip: Clip, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if hardware_device() == device:
        pytest.skip(f"{device} opens here")
    monkeypatch.setattr("multiview.sources._packets.hardware_device", lambda: device)
    with FileVideoSource(clip.path, "cam") as source:
        check_everywhere(source, len(clip.shown))
        assert source.get_metadata().decoder == "software"


def test_a_frame_that_a_device_cannot_decode_is_tried_in_software(
    clip: Clip, tmp_path: Path
) -> None:
    """The hole is in the file, so software fails as well; everything around it stays right."""
    path = shutil.copy(clip.path, tmp_path / "hole.mkv")
    with FileVideoSource(path, "cam", hardware=False) as source:
        row = source._opened().file.rows[45]
        with Path(path).open("r+b") as stored:
            stored.seek((row.position or 0) + 12)
            stored.write(bytes(row.size - 12))
    with FileVideoSource(path, "cam", hardware=False) as source:
        file = source._opened().file
        file.device = "cuda"  # as if a device had opened
        frames = list(source.frames())
        assert file.device is None
    assert not all(frame.is_valid for frame in frames)
    assert all(30 <= frame.frame_number < 60 for frame in frames if not frame.is_valid)
    for frame in frames[:30] + frames[60:]:
        assert shown_number(frame) == frame.frame_number
