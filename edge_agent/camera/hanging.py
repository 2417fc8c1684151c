"""A camera that hangs, as real ones do: the driver stays open, but no frame comes any more."""

from collections.abc import Sequence

from capture_protocol.grid import Grid
from edge_agent.camera.contract import Camera, CameraFrame


class HangingCamera:
    """Another camera, until the release of one slot; from there on it is silent for good.

    If a stall swallows that release, the next one counts. A camera that was opened later in the
    session has not come past that slot: it goes on.
    """

    def __init__(self, camera: Camera, hang_at_slot: int) -> None:
        self._camera = camera
        self._hang_at_slot = hang_at_slot
        self._hung = False
        self._released = hang_at_slot
        self.shows_instant = camera.shows_instant
        self.settle_ns = camera.settle_ns

    def follow(self, grid: Grid) -> None:
        """See `Camera.follow`."""
        self._camera.follow(grid)
        self.settle_ns = self._camera.settle_ns

    def prepare(self, slot: int) -> None:
        """See `Camera.prepare`."""
        self._camera.prepare(slot)

    def release(self, slot: int, now_ns: int) -> None:
        """See `Camera.release`."""
        self._hung = self._hung or self._released < self._hang_at_slot <= slot
        self._released = slot
        self._camera.release(slot, now_ns)

    def frames(self, now_ns: int) -> Sequence[CameraFrame]:
        """See `Camera.frames`; the sensor itself runs on."""
        frames = self._camera.frames(now_ns)
        return () if self._hung else frames

    @property
    def next_due_ns(self) -> int | None:
        """See `Camera.next_due_ns`."""
        return None if self._hung else self._camera.next_due_ns

    @property
    def lock_state(self) -> int:
        """See `Camera.lock_state`."""
        return self._camera.lock_state

    def close(self) -> None:
        """See `Camera.close`."""
        self._camera.close()
