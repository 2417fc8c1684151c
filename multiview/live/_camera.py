"""What is known of one camera's health: a small state machine, without I/O."""

from __future__ import annotations

from multiview.errors import SourceError
from multiview.live._packet import FrameStatus
from multiview.live._stamp import Stamp


class Camera:
    """Counts failed reads and notices when a camera's times start anew."""

    def __init__(self, max_read_errors: int) -> None:
        self.broken = False
        """cannot be reached, or failed too often in a row; mends with the next good frame"""
        self.excluded = False
        """its clock is too far off since it came back"""
        self.reason = ""
        """why it is not well; empty if it is"""
        self._max_read_errors = max_read_errors
        self._errors = 0
        self._connections = 0
        self._connected = False
        self._time: tuple[int, int] | None = None

    @property
    def status(self) -> FrameStatus:
        """What a packet says where this camera has no frame."""
        if self.broken or self.excluded:
            return FrameStatus.BROKEN
        return FrameStatus.READ_ERROR if self._errors else FrameStatus.DROPPED

    @property
    def damaged_status(self) -> FrameStatus:
        """What a packet says where this camera's frame refers to lost ones."""
        return FrameStatus.BROKEN if self.broken else FrameStatus.READ_ERROR

    def connected(self) -> None:
        """A connection was made; that it works is told by its first frame."""
        self._connections += 1
        self._connected = True

    def took(self, stamp: Stamp, damaged: bool) -> bool:
        """A frame came; returns whether its time does not compare to that of frames before."""
        if damaged:
            self._count("pictures refer to lost ones")
        else:
            self._errors, self.broken, self.reason = 0, False, ""
        earlier, self._time = self._time, (self._connections, stamp.epoch)
        if self._time == earlier:
            return False
        self.excluded = False
        return True

    def failed(self, error: SourceError) -> None:
        """The connection broke, or could not be made."""
        self._count(str(error))
        self.broken |= not self._connected
        self._connected = False

    def exclude(self, reason: str) -> None:
        """Leave the camera out until its times start anew."""
        self.excluded, self.reason = True, reason

    def _count(self, reason: str) -> None:
        self._errors += 1
        self.broken |= self._errors > self._max_read_errors
        self.reason = reason
