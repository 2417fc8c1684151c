"""Recorded footage as a camera: the picture of a slot is chosen when the slot is released."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from capture_protocol.errors import InputError
from capture_protocol.frame import FrameFlag, LockState
from capture_protocol.grid import Grid
from capture_protocol.rig import NodeCamera
from edge_agent.camera.contract import CameraFrame
from edge_agent.camera.footage import Footage, resolve
from edge_agent.camera.options import Options


class FileCamera:
    """Plays a video file on the grid; its exposure instant is its release.

    Options: ``loop`` (default true) starts again at the end, else the last picture is repeated
    and flagged; ``rate`` is "rig" (each slot shows the file's next picture) or "own" (pictures
    advance at the file's own frame rate).
    """

    shows_instant = False

    def __init__(self, config: NodeCamera, folder: Path) -> None:
        options = Options(config)
        self._loop = options.take("loop", True)
        rate = options.take("rate", "rig")
        options.finish()
        if rate not in ("rig", "own"):
            raise InputError(f"camera {config.name}: option rate is 'rig' or 'own', not {rate!r}")
        footage = Footage(resolve(config.device, folder))
        self._count, self._own_rate = len(footage), footage.rate
        footage.close()
        self._uses_own_rate = rate == "own"
        self._ready: list[CameraFrame] = []
        self._sequence = 0
        self._shown = -1
        self._step = Fraction(1)
        self.settle_ns = 0

    def follow(self, grid: Grid) -> None:
        """See `Camera.follow`."""
        self._step = self._own_rate / grid.rate if self._uses_own_rate else Fraction(1)
        self.settle_ns = grid.period_ns

    def prepare(self, slot: int) -> None:
        """Nothing to get ready."""

    def release(self, slot: int, now_ns: int) -> None:
        """See `Camera.release`."""
        wanted = max(slot, 0) * self._step.numerator // self._step.denominator
        picture = wanted % self._count if self._loop else min(wanted, self._count - 1)
        repeated = slot > 0 and picture == self._shown and (self._uses_own_rate or self._count > 1)
        self._shown = picture
        flags = FrameFlag.SIMULATED | (FrameFlag.REPEATED if repeated else FrameFlag.NONE)
        self._ready.append(
            CameraFrame(now_ns, 0, 0, 0, self._sequence, 0, 0, 0, 0, int(flags), picture)
        )
        self._sequence = (self._sequence + 1) & 0xFFFFFFFF

    def frames(self, now_ns: int) -> Sequence[CameraFrame]:  # noqa: ARG002
        """See `Camera.frames`."""
        ready, self._ready = self._ready, []
        return ready

    @property
    def next_due_ns(self) -> int | None:
        """See `Camera.next_due_ns`."""
        return self._ready[0].frame_start_ns if self._ready else None

    @property
    def lock_state(self) -> int:
        """See `Camera.lock_state`."""
        return LockState.LOCKED

    def close(self) -> None:
        """Nothing to release."""
