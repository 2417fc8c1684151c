"""Video files of synthetic scenes, with the truth beside them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path

import av
from av.container import OutputContainer
from av.video.stream import VideoStream

from capture_protocol import publish_text
from multiview.errors import SyncConfigError
from multiview.synthetic._camera import CameraModel, default_camera
from multiview.synthetic._scene import SceneConfig
from multiview.synthetic._source import SyntheticVideoSource

TEST_CAMERAS = ("cam1", "cam2", "cam3")
TRUTH_NAME = "truth.json"


class SyntheticVideoGenerator:
    """Films scenes with cameras of known place, for tests of whatever comes after.

    Args:
        cameras: cameras by name; those not named stand at default places around the field.
        size: picture width and height of default cameras, both even.
        codec: FFmpeg's name of an encoder.
    """

    def __init__(
        self,
        cameras: Mapping[str, CameraModel] | None = None,
        *,
        size: tuple[int, int] = (1280, 720),
        codec: str = "libx264",
    ) -> None:
        if size[0] % 2 or size[1] % 2 or min(size) < 16:
            raise SyncConfigError(f"a picture of {size} cannot be coded: use even sizes from 16 up")
        self._cameras = dict(cameras or {})
        self._size = size
        self._codec = codec

    def camera(self, camera_id: str, scene: SceneConfig) -> CameraModel:
        """The camera that ``create_video`` uses for this name."""
        return self._cameras.get(camera_id) or default_camera(
            camera_id, scene.field_length, scene.field_width, self._size
        )

    def create_video(
        self,
        output_path: str | Path,
        camera_id: str,
        scene: SceneConfig,
        duration: float,
        fps: float | Fraction,
        *,
        start: float = 0.0,
    ) -> Path:
        """Film ``scene`` for ``duration`` seconds; the file appears when it is complete.

        ``start`` is the scene's time in seconds of the file's time 0, so that cameras can be
        started one after the other.
        """
        path = Path(output_path)
        path.parent.mkdir(parents=True, exist_ok=True)
        source = SyntheticVideoSource(
            camera_id, duration, fps, scene, camera=self.camera(camera_id, scene), start=start
        )
        unfinished = path.with_name(f".{path.stem}.unfinished{path.suffix}")
        try:
            self._encode(source, unfinished)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
        return path

    def create_videos(
        self,
        output_dir: str | Path,
        camera_ids: Iterable[str],
        scene: SceneConfig,
        duration: float,
        fps: float | Fraction,
    ) -> dict[str, Path]:
        """Film a scene with several cameras; ``truth.json`` beside them tells scene and cameras."""
        folder = Path(output_dir)
        videos = {
            camera: self.create_video(folder / f"{camera}.mp4", camera, scene, duration, fps)
            for camera in camera_ids
        }
        truth = {
            "scene": asdict(scene),
            "cameras": {name: self.camera(name, scene).to_dict() for name in videos},
        }
        publish_text(folder / TRUTH_NAME, json.dumps(truth, indent=1) + "\n")
        return videos

    def create_test_videos(
        self, output_dir: str | Path, *, duration: float = 5.0, fps: float = 30.0
    ) -> dict[str, Path]:
        """Three cameras of the default scene, and ``truth.json``."""
        return self.create_videos(output_dir, TEST_CAMERAS, SceneConfig(), duration, fps)

    def _encode(self, source: SyntheticVideoSource, path: Path) -> None:
        with source, av.open(str(path), "w") as container:
            stream = _add_video(container, self._codec, source.rate)
            stream.width, stream.height = source.camera.size
            stream.pix_fmt = "yuv420p"
            stream.codec_context.gop_size = 30
            for number, frame in enumerate(source.frames()):
                if frame.picture is not None:
                    picture = frame.picture.decoded.reformat(format="yuv420p")
                    picture.pts, picture.time_base = number, 1 / source.rate
                    container.mux(stream.encode(picture))
            container.mux(stream.encode(None))


def _add_video(container: OutputContainer, codec: str, rate: Fraction) -> VideoStream:
    try:
        stream = container.add_stream(codec, rate=rate)
    except (av.codec.codec.UnknownCodecError, ValueError) as error:
        raise SyncConfigError(f"FFmpeg cannot encode {codec!r} into this file") from error
    if not isinstance(stream, VideoStream):
        raise SyncConfigError(f"{codec!r} is no video encoder")
    return stream
