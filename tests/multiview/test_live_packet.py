"""What a packet takes from a decoded picture, and what it leaves behind."""

import gc
from pathlib import Path

import av
import pytest

from multiview.live._packet import MOTION_COLUMNS, frame_type, motion_vectors
from tests.multiview.clips import encode

FRAMES = 60


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("packet") / "clip.mp4"
    return encode(path, range(0, FRAMES * 3000, 3000), size=(640, 480)).path


def test_pictures_are_let_go_of_without_the_cycle_collector(clip: Path) -> None:
    buffers = set()
    gc.collect()
    gc.disable()
    try:
        with av.open(str(clip)) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_type = "SLICE"
            stream.codec_context.options = {"flags2": "+export_mvs"}
            for picture in container.decode(stream):
                assert motion_vectors(picture).shape[1] == len(MOTION_COLUMNS)
                assert frame_type(picture) in "IP"
                buffers.add(picture.planes[0].buffer_ptr)
        assert gc.collect() < FRAMES
    finally:
        gc.enable()
    assert len(buffers) < FRAMES / 4  # the decoder used the same few again and again
