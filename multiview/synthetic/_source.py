"""A synthetic scene as a source, without a file between."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from multiview.errors import SourceClosedError, SyncConfigError
from multiview.sources import NS_PER_S, Frame, NumberedSource, Picture, Times, VideoMetadata
from multiview.synthetic._camera import CameraModel, default_camera
from multiview.synthetic._render import Renderer
from multiview.synthetic._scene import SceneConfig

MAX_FRAMES = 10_000_000


class SyntheticVideoSource(NumberedSource):
    """Frames of a scene, rendered when they are asked for; the same every time.

    Args:
        camera_id: name; its number also chooses the place around the field.
        duration: seconds.
        fps: rate in Hz, exact as a fraction where it matters (30000/1001).
        scene_config: the world.
        camera: where the camera stands, if not at its default place.
        size: picture width and height for the default camera.
        start: the scene's time in seconds at the source's time 0.
    """

    def __init__(
        self,
        camera_id: str,
        duration: float,
        fps: float | Fraction,
        scene_config: SceneConfig | None = None,
        *,
        camera: CameraModel | None = None,
        size: tuple[int, int] = (1280, 720),
        start: float = 0.0,
    ) -> None:
        if not (0 < fps <= 100_000 and 0 < duration * fps <= MAX_FRAMES):
            raise SyncConfigError(f"{duration} s at {fps} frames per second cannot be made")
        self.camera_id = camera_id
        self.rate = Fraction(fps).limit_denominator(1001)
        self.scene = scene_config or SceneConfig()
        self.camera = camera or default_camera(
            camera_id, self.scene.field_length, self.scene.field_width, size
        )
        self._start = start
        self._count = max(1, round(duration * self.rate))
        self._times: Times | None = None

    def open(self) -> None:
        """Place the frames on the grid of the rate."""
        self._renderer = Renderer(self.scene, self.camera, self.camera_id)
        grid = [round(n * NS_PER_S / self.rate) for n in range(self._count)]
        self._times = np.array(grid, dtype=np.int64)
        self._next = 0

    @property
    def times_ns(self) -> Times:
        """Middle of every exposure, from the first one on."""
        if self._times is None:
            raise SourceClosedError(f"{self.camera_id} is not open", hint="open() it")
        return self._times

    def get_metadata(self) -> VideoMetadata:
        """Size, rate and extent."""
        duration_ns = round(len(self.times_ns) * NS_PER_S / self.rate)
        return VideoMetadata(
            self.camera_id,
            *self.camera.size,
            fps=float(self.rate),
            codec="synthetic",
            total_frames=self._count,
            duration_ns=duration_ns,
        )

    def frame_by_number(self, number: int) -> Frame:
        """Render frame ``number``."""
        self._check_number(number)
        time_ns = int(self.times_ns[number])
        picture = Picture.from_array(
            self._renderer.picture(number, self._start + time_ns / NS_PER_S)
        )
        return Frame(self.camera_id, time_ns, number, picture=picture, source_time_ns=time_ns)

    def release(self) -> None:
        """Forget the frames' times."""
        self._times = None
