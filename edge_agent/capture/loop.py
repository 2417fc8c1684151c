"""The capture loop: one thread, one timer, all cameras of the node."""

import gc
from collections.abc import Callable
from fractions import Fraction
from time import monotonic_ns

from capture_protocol.clock import read_clock
from capture_protocol.errors import TuttiError
from capture_protocol.events import AgentState, EventKind
from capture_protocol.grid import Grid
from edge_agent.camera import CameraError
from edge_agent.capture.clock_map import ClockMap
from edge_agent.capture.recording import Recording
from edge_agent.capture.timer import ReleaseTimer, sleep_until
from edge_agent.capture.track import CameraTrack
from edge_agent.clock import UNKNOWN_DISCIPLINE, Discipline
from edge_agent.process import (
    CameraStatus,
    CaptureDone,
    CaptureStatus,
    EndSession,
    SessionOrder,
    SessionRefused,
    SessionTaken,
)

Report = CaptureStatus | CaptureDone | SessionTaken | SessionRefused

_CLOCK_ATTEMPTS = 3  # bracketed readings per frame; one is seldom disturbed, three hardly ever
_HANDLING_NS = 1_000_000
"""Frames due within this before a release wait until after it: handling one takes 0.1 ms."""
_LONGEST_SLEEP_NS = 50_000_000  # orders are looked at this often also on a slow grid
_STATUS_NS = 500_000_000
_CLOCK_EVENT_NS = 1_000_000_000
_GIVE_UP_NS = 10_000_000_000
_LATE_RELEASE_NS = 1_000_000  # a release later than this is marked with rank 1


class CaptureLoop:
    """Keeps all cameras locked to a grid, also while idle, and records sessions.

    While nothing is recorded the grid is that of the last session, or n·Δ since the Unix epoch:
    a session whose t0 lies on the epoch's grid starts with its cameras in lock.
    """

    def __init__(
        self,
        tracks: list[CameraTrack],
        timer: ReleaseTimer,
        idle_rate: Fraction,
        report: Callable[[Report], object],
        release_mode: str,
    ) -> None:
        self._tracks = tracks
        self._timer = timer
        self._discipline = UNKNOWN_DISCIPLINE
        self._report = report
        self._release_mode = release_mode
        self._clock = ClockMap(read_clock())
        self._real_grid = Grid(0, idle_rate)
        self._recording: Recording | None = None
        self._next_status_ns = 0
        self._next_clock_event_ns = 0
        self._follow()
        self._slot = self._grid.nearest_slot(monotonic_ns()) + 1

    def cycle(self) -> None:
        """One slot: take the frames that come before it, release it, look after the rest."""
        target_ns = self._grid.time_ns(self._slot)
        deadline_ns = target_ns - self._timer.spin_ns - _HANDLING_NS
        if self._serve_until(deadline_ns):
            self._release(target_ns)
            self._advance()
        self._read_clock()
        self._keep_books()

    def begin(self, order: SessionOrder) -> None:
        """Start recording a session, or say why not."""
        if self._recording is not None:
            self._end_recording()
        self._clock.reset(read_clock())
        before = self._real_grid
        self._real_grid = order.start.grid
        try:
            self._follow()
        except TuttiError as error:
            self._real_grid = before
            self._follow()
            self._report(SessionRefused(order.start.session, str(error)))
            return
        recording = Recording(order.start, order.last_slot, self._clock)
        recording.judge_clock(self._discipline)
        self._recording = recording
        for track in self._tracks:
            track.begin(recording)
            track.write_state(recording.session, AgentState.ARMED, AgentState.IDLE)
        self._slot = self._coming_slot()
        self._report(SessionTaken(order.start.session))

    def end(self, order: EndSession) -> None:
        """Name the last slot of the running session."""
        recording = self._recording
        if recording is not None and recording.session == order.session:
            recording.last_slot = order.last_slot
            for track in self._tracks:
                track.ledger.last_slot = order.last_slot

    def note_discipline(self, discipline: Discipline) -> None:
        """Take over what the agent has found out about CLOCK_REALTIME, into the next frame."""
        changed = discipline.holdover != self._discipline.holdover
        self._discipline = discipline
        if self._recording is not None:
            self._recording.judge_clock(discipline)
            if changed:
                self._next_clock_event_ns = 0

    def close(self) -> None:
        """Release all cameras and logs."""
        for track in self._tracks:
            track.close()

    def _follow(self) -> None:
        """Move the grid to CLOCK_MONOTONIC as mapped now, for the timer and the cameras."""
        self._grid = self._real_grid.moved(-self._clock.offset_ns)
        for track in self._tracks:
            track.camera.follow(self._grid)

    def _serve_until(self, deadline_ns: int) -> bool:
        """Take frames as they come; False if it is not yet time to release."""
        stop_ns = monotonic_ns() + _LONGEST_SLEEP_NS
        while True:
            now_ns = monotonic_ns()
            for track in self._tracks:
                track.poll(now_ns, self._clock, self._grid)
            if now_ns >= deadline_ns:
                return True
            if now_ns >= stop_ns:
                return False
            sleep_until(min(self._next_due_ns(now_ns), deadline_ns, stop_ns))

    def _next_due_ns(self, now_ns: int) -> int:
        due_ns = now_ns + _LONGEST_SLEEP_NS
        for track in self._tracks:
            camera_due_ns = track.camera.next_due_ns
            if camera_due_ns is not None and camera_due_ns < due_ns:
                due_ns = camera_due_ns
        return due_ns

    def _release(self, target_ns: int) -> None:
        """Queue the slot's request on every camera; all that can be done before Tn is."""
        self._announce_capturing()
        for track in self._tracks:
            track.camera.prepare(self._slot)
        released_ns = self._timer.wait(target_ns)
        late_ns = released_ns - target_ns
        if late_ns > self._real_grid.period_ns // 2:
            return  # a stall: this instant is gone, and a stale release would only burst
        for track in self._tracks:
            track.release(self._slot)
        rank = 1 if late_ns > _LATE_RELEASE_NS else 0
        for track in self._tracks:
            track.write_release(self._slot, target_ns, rank)

    def _announce_capturing(self) -> None:
        recording = self._recording
        if recording is not None and not recording.capturing and recording.wants(self._slot):
            recording.capturing = True
            for track in self._tracks:
                track.write_state(recording.session, AgentState.CAPTURING, AgentState.ARMED)

    def _advance(self) -> None:
        """The next slot; after a stall the next one that can still be released in time."""
        following = self._slot + 1
        earliest_ns = monotonic_ns() + self._timer.spin_ns
        if self._grid.time_ns(following) < earliest_ns:
            following = self._coming_slot()
        self._slot = following

    def _coming_slot(self) -> int:
        """The next slot that can be released in time."""
        return self._grid.nearest_slot(monotonic_ns() + self._timer.spin_ns) + 1

    def _read_clock(self) -> None:
        reading = read_clock(_CLOCK_ATTEMPTS)
        step_ns = self._clock.update(reading)
        recording = self._recording
        if step_ns and (recording is None or not recording.capturing):
            # There is no frame yet from which the grid could tear.
            self._clock.reset(reading)
            self._follow()
            self._slot = self._coming_slot()
            return
        if step_ns and recording is not None:
            recording.judge_clock(self._discipline)
            self._write_clock(recording, EventKind.STEP, step_ns)
        self._follow()

    def _keep_books(self) -> None:
        now_ns = monotonic_ns()
        recording = self._recording
        if recording is not None:
            if now_ns >= self._next_clock_event_ns:
                self._next_clock_event_ns = now_ns + _CLOCK_EVENT_NS
                recording.judge_clock(self._discipline)
                self._write_clock(recording, EventKind.CLOCK, recording.clock_offset_ns)
            done = [track.finish_overdue(now_ns, self._grid) for track in self._tracks]
            if all(done):
                self._end_recording()
        if now_ns >= self._next_status_ns:
            if recording is None:
                self._use_idle_time(now_ns)
            self._next_status_ns = now_ns + _STATUS_NS
            self._report(self._status())

    def _use_idle_time(self, now_ns: int) -> None:
        """While nothing is recorded.

        Raises:
            CameraError: a camera has given nothing for long; a new process may open it again.
        """
        gc.collect(0)  # it is disabled, and cycles of idle hours must not pile up
        for track in self._tracks:
            if track.failing_since_ns and now_ns - track.failing_since_ns > _GIVE_UP_NS:
                raise CameraError(track.problem)

    def _write_clock(self, recording: Recording, kind: EventKind, offset_ns: int) -> None:
        source = self._discipline.source
        for track in self._tracks:
            track.write_clock(
                recording.session,
                kind,
                self._clock.reading,
                offset_ns,
                recording.clock_uncertainty_ns,
                source,
            )

    def _end_recording(self) -> None:
        recording = self._recording
        if recording is None:
            return
        self._recording = None
        for track in self._tracks:
            track.end()
            track.write_state(recording.session, AgentState.DRAINING, AgentState.CAPTURING)
        last_slot = max(track.ledger.next_slot for track in self._tracks) - 1
        self._report(self._status())
        self._report(CaptureDone(recording.session, last_slot))

    def _status(self) -> CaptureStatus:
        recording = self._recording
        return CaptureStatus(
            session=recording.session if recording else 0,
            capturing=recording.capturing if recording else False,
            next_slot=self._slot,
            release_mode=self._release_mode,
            clock_width_ns=self._clock.width_ns,
            clock_stepped=self._clock.stepped,
            cameras={track.name: _camera_status(track) for track in self._tracks},
        )


def _camera_status(track: CameraTrack) -> CameraStatus:
    return CameraStatus(
        lock=int(track.camera.lock_state),
        phase_error_ns=track.phase_error_ns,
        next_slot=track.ledger.next_slot,
        captured=track.ledger.captured,
        lost=track.ledger.lost,
        problem=track.problem,
    )
