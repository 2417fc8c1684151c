"""Whether the agent does what it is there for: pure judgement on the capture process's reports."""

from edge_agent.process import CaptureStatus


class FrameProgress:
    """Follows the frames of all cameras; a node that stands still must not feed its watchdog.

    While a session is captured, some camera has to deliver, and every camera that has delivered
    must go on. One that never did since the agent started does not count: a restart has not helped
    it, and would only interrupt the others. While idle, the capture process has to report.
    """

    def __init__(self, stall_s: float) -> None:
        self._stall_s = stall_s
        """So long without a frame, or without a report, is standing still."""
        self._reported_s: float | None = None
        self._captured: dict[str, int] = {}
        self._moved_s: dict[str, float] = {}
        self._session = 0
        self._capturing_since_s = 0.0

    def take(self, status: CaptureStatus, now_s: float) -> None:
        """Take in a report."""
        self._reported_s = now_s
        session = status.session if status.capturing else 0
        if session != self._session:
            self._session, self._capturing_since_s = session, now_s
            self._captured = {}
            self._moved_s = dict.fromkeys(self._moved_s, now_s)
        for name, camera in status.cameras.items():
            if camera.captured > self._captured.get(name, 0):
                self._moved_s[name] = now_s
            self._captured[name] = camera.captured

    def standing_still(self, now_s: float) -> str:
        """What stands still, empty while all is well."""
        if self._reported_s is None:
            return ""  # it is still starting: that is Type=notify's matter
        if now_s - self._reported_s > self._stall_s:
            return "the capture process does not report"
        if not self._session:
            return ""
        still = [name for name, at_s in self._moved_s.items() if now_s - at_s > self._stall_s]
        if still:
            return f"no frames from {', '.join(sorted(still))}"
        if not self._moved_s and now_s - self._capturing_since_s > self._stall_s:
            return "no frames from any camera"
        return ""
