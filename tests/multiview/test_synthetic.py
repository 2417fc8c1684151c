"""Synthetic scenes: what the pictures show is where the matrices say it is."""

import json

import cv2
import numpy as np
import pytest

from multiview.errors import SyncConfigError
from multiview.sources import FileVideoSource, Image, VideoSource
from multiview.synthetic import (
    CameraModel,
    SceneConfig,
    SyntheticVideoGenerator,
    SyntheticVideoSource,
)

SIZE = (960, 540)
SHARP = SceneConfig(noise_sigma=0, exposure_seconds=0, player_positions=())


def ball_in(image: Image) -> np.ndarray:
    """Centre of what is orange, weighted by how much."""
    blue, _, red = (image[:, :, k].astype(float) for k in range(3))
    weight = np.clip(red - blue - 120, 0, None)
    assert weight.sum() > 0
    rows, columns = np.indices(weight.shape)
    return np.array([(columns * weight).sum(), (rows * weight).sum()]) / weight.sum()


@pytest.mark.parametrize("seconds", [0.0, 1.3, 4.0, 7.7])
def test_the_ball_is_triangulated_where_it_flew(seconds: float) -> None:
    number = round(seconds * 30)
    points = []
    for camera_id in ("cam1", "cam2"):
        with SyntheticVideoSource(camera_id, 10, 30, SHARP, size=SIZE) as source:
            image = source.frame_by_number(number).image
            assert image is not None
            seen, camera = ball_in(image), source.camera
            straight = cv2.undistortPoints(
                seen[None], camera.matrix, camera.distortion, P=camera.matrix
            )
            points.append((camera.projection, straight.reshape(2, 1)))
    (p1, x1), (p2, x2) = points
    found = cv2.triangulatePoints(p1, p2, x1, x2)
    assert np.allclose(found[:3, 0] / found[3], SHARP.ball_at(number / 30), atol=0.1)


def test_projection_agrees_with_opencv_by_hand() -> None:
    camera = CameraModel.looking_at((0, -10, 2), (0, 0, 2), size=(200, 100), field_of_view_deg=90)
    pixels = camera.project(np.array([(0, 0, 2.0), (10, 0, 2), (0, 0, 3)]))
    assert np.allclose(pixels, [(99.5, 49.5), (199.5, 49.5), (99.5, 39.5)])
    assert np.allclose(camera.position, (0, -10, 2))
    assert camera.depth(np.array([(0, 0, 0.0)])) == pytest.approx([10])


def test_pictures_are_the_same_every_time_and_noise_is_as_asked() -> None:
    scene = SceneConfig(noise_sigma=5, seed=3)
    pictures = []
    for _ in range(2):
        with SyntheticVideoSource("cam1", 1, 30, scene, size=SIZE) as source:
            pictures.append([source.frame_by_number(n).image for n in (0, 7)])
    assert np.array_equal(pictures[0], pictures[1])
    grass = pictures[0][0][:100, :100].astype(float)  # a corner without lines or players
    assert grass.std(axis=(0, 1)) == pytest.approx([5, 5, 5], rel=0.1)
    assert not np.array_equal(pictures[0][0][:100], pictures[0][1][:100])


def test_a_long_exposure_smears_the_ball_along_its_way() -> None:
    def extent(exposure: float) -> float:
        flight = SceneConfig(
            ball_trajectory=((20, 35, 3), (80, 35, 3)), trajectory_seconds=1, noise_sigma=0,
            exposure_seconds=exposure, player_positions=(),
        )  # fmt: skip
        aside = CameraModel.looking_at((50, -20, 5), (50, 35, 3), size=SIZE)
        with SyntheticVideoSource("cam", 1, 30, flight, camera=aside) as source:
            image = source.frame_by_number(15).image
        assert image is not None
        orange = image[:, :, 2].astype(int) - image[:, :, 0] > 20
        return float(np.ptp(np.flatnonzero(orange.any(axis=0))))

    moved = 60 * 0.04 * (SIZE[0] / 2 / np.tan(np.radians(30))) / 55  # metres → pixels at 55 m
    assert extent(0.04) - extent(0) == pytest.approx(moved, rel=0.2)


def test_what_is_behind_a_camera_is_not_drawn() -> None:
    away = CameraModel.looking_at((50, 35, 2), (50, 500, 2), size=SIZE)
    scene = SceneConfig(ball_trajectory=((50, 10, 2),), player_positions=((50, 20),), noise_sigma=0)
    with SyntheticVideoSource("cam", 1, 30, scene, camera=away) as source:
        image = source.frame_by_number(0).image
    assert image is not None
    assert not (image[:, :, 2].astype(int) - image[:, :, 0] > 60).any()


def test_generated_files_hold_the_scene_at_the_right_times(tmp_path) -> None:
    generator = SyntheticVideoGenerator(size=SIZE)
    generator.create_video(tmp_path / "late.mp4", "cam1", SHARP, duration=1.0, fps=25.0, start=2.0)
    camera = generator.camera("cam1", SHARP)
    with FileVideoSource(tmp_path / "late.mp4", "cam1") as source:
        assert source.get_metadata().total_frames == 25
        for frame in source.frames():
            assert frame.image is not None
            expected = camera.project(SHARP.ball_at(2.0 + frame.timestamp)[None])[0]
            assert np.hypot(*(ball_in(frame.image) - expected)) < 1.0
    assert [path.name for path in tmp_path.iterdir()] == ["late.mp4"]


def test_test_videos_come_with_their_truth(tmp_path) -> None:
    videos = SyntheticVideoGenerator(size=(320, 180)).create_test_videos(tmp_path, duration=0.2)
    assert sorted(videos) == ["cam1", "cam2", "cam3"]
    truth = json.loads((tmp_path / "truth.json").read_text())
    assert np.array(truth["cameras"]["cam3"]["matrix"]).shape == (3, 3)
    assert truth["scene"]["field_length"] == 100.0


def test_a_synthetic_source_keeps_the_contract() -> None:
    source = SyntheticVideoSource("cam1", 2, 30000 / 1001, size=(64, 36))
    contract: VideoSource = source
    with contract:
        metadata = contract.get_metadata()
        assert (metadata.total_frames, metadata.width, metadata.height) == (60, 64, 36)
        assert contract.frame_at(1_001_000_000).frame_number == 30
        contract.seek(1_900_000_000)
        assert len([*iter(contract.read_frame, None)]) == 3
        assert [f.frame_number for f in contract.frames(0, 100_000_000)] == [0, 1, 2]


def test_impossible_scenes_are_refused(tmp_path) -> None:
    for make, reason in [
        (lambda: SceneConfig(field_length=0), "field"),
        (lambda: SceneConfig(ball_trajectory=()), "ball"),
        (lambda: SceneConfig(noise_sigma=-1), "noise"),
        (lambda: SyntheticVideoSource("c", 1e12, 30), "cannot be made"),
        (lambda: SyntheticVideoSource("c", 1, float("nan")), "cannot be made"),
        (lambda: CameraModel.looking_at((0, 0, 0), (0, 0, 5)), "straight up"),
        (
            lambda: CameraModel.looking_at((0, 0, 0), (9, 0, 0), field_of_view_deg=180),
            "field of view",
        ),
        (lambda: SyntheticVideoGenerator(size=(33, 20)), "even sizes"),
    ]:
        with pytest.raises(SyncConfigError, match=reason):
            make()
    with pytest.raises(SyncConfigError, match="cannot encode"):
        SyntheticVideoGenerator(size=(64, 36), codec="none").create_video(
            tmp_path / "x.mp4", "cam1", SHARP, 0.1, 30
        )
    assert list(tmp_path.iterdir()) == []
