"""The simulated camera's scene: a pure function of seed and time, with work for an encoder."""

import numpy as np
import pytest

from capture_protocol.errors import InputError
from edge_agent.scene import Scene

SECOND_NS = 1_000_000_000


def rendered(seed, instant_ns, width=320, height=240):
    scene = Scene(width, height, seed)
    picture = scene.blank()
    scene.render(picture, instant_ns)
    return picture


def test_equal_seed_and_instant_give_equal_bytes():
    assert np.array_equal(rendered(3, 5 * SECOND_NS), rendered(3, 5 * SECOND_NS))


def test_what_was_in_the_picture_before_does_not_show():
    scene = Scene(320, 240, 1)
    reused, fresh = scene.blank(), scene.blank()
    scene.render(reused, 9 * SECOND_NS)
    scene.render(reused, 2 * SECOND_NS)
    scene.render(fresh, 2 * SECOND_NS)
    assert np.array_equal(reused, fresh)


def test_cameras_see_different_scenes():
    assert (rendered(1, SECOND_NS) != rendered(2, SECOND_NS)).mean() > 0.5


@pytest.mark.parametrize("second", [0, 1, 7, 86_399])
def test_the_scene_moves_from_frame_to_frame(second):
    now = rendered(1, second * SECOND_NS)
    soon = rendered(1, second * SECOND_NS + SECOND_NS // 4)
    assert (now[:240] != soon[:240]).mean() > 0.2


def test_texture_in_every_part_of_the_luma_plane():
    luma = rendered(1, SECOND_NS)[:240]
    blocks = luma.reshape(6, 40, 8, 40).std(axis=(1, 3))
    assert blocks.min() > 5


def test_all_planes_stay_within_limited_range():
    picture = rendered(7, 3 * SECOND_NS)
    assert picture.min() >= 16
    assert picture.max() <= 240


@pytest.mark.parametrize("size", [(63, 480), (640, 481), (0, 0)])
def test_impossible_sizes_are_refused(size):
    with pytest.raises(InputError, match="even sides"):
        Scene(*size, seed=1)


def test_a_wrong_picture_is_refused():
    scene = Scene(320, 240, 1)
    wrong = [np.zeros((240, 320), np.uint8), np.zeros((360, 320), np.uint16)]
    for picture in [*wrong, np.zeros((360, 640), np.uint8)[:, ::2]]:
        with pytest.raises(InputError, match="C-contiguous"):
            scene.render(picture, 0)
