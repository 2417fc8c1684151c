"""One camera within the capture process: from its frames to the capture log and its worker."""

import os
from time import monotonic_ns

from capture_protocol.clock import ClockReading
from capture_protocol.events import (
    CLOCK_STRUCT,
    EVENT_HEADER,
    LOST_STRUCT,
    PICTURE_STRUCT,
    RELEASE_STRUCT,
    STATE_STRUCT,
    AgentState,
    EventKind,
    LossPlace,
)
from capture_protocol.frame import (
    FRAME_SIZE,
    FRAME_STRUCT,
    RECORD_VERSION,
    FrameFlag,
    midpoint_ns,
)
from capture_protocol.grid import Grid
from edge_agent.camera import Camera, CameraError, CameraFrame
from edge_agent.capture.clock_map import ClockMap
from edge_agent.capture.recording import Recording
from edge_agent.capture.slots import SlotLedger, Taken
from edge_agent.eventlog import RingWriter

_RECORD_AT = EVENT_HEADER.size
_PICTURE_AT = EVENT_HEADER.size + FRAME_SIZE
_MAX_U32 = 0xFFFFFFFF


class CameraTrack:
    """Writes one camera's capture log. Between frame and hand-over nothing is kept allocated."""

    def __init__(self, index: int, name: str, camera: Camera, log: RingWriter, wake: int) -> None:
        self.index = index
        self.name = name
        self.camera = camera
        self.phase_error_ns: int | None = None
        self.problem = ""
        """What the camera says is wrong, until its next frame."""
        self.failing_since_ns = 0
        self.ledger = SlotLedger()
        self._log = log
        self._wake = wake
        self._recording: Recording | None = None
        self._released_ns = 0

    def begin(self, recording: Recording) -> None:
        """Record a session from the next release on."""
        self.ledger = SlotLedger(recording.last_slot)
        self._recording = recording

    def end(self) -> None:
        """Record nothing from here on."""
        self._recording = None

    def release(self, slot: int) -> None:
        """Queue the request of a slot; nothing else is allowed to take time here."""
        self._released_ns = released_ns = monotonic_ns()
        self.camera.release(slot, released_ns)

    def write_release(self, slot: int, target_ns: int, rank: int) -> None:
        """Write down when the slot was released; ``target_ns`` is Tn on CLOCK_MONOTONIC."""
        recording = self._recording
        if recording is None or not recording.wants(slot):
            return
        released_ns, offset_ns = self._released_ns, recording.clock.offset_ns
        self.ledger.released(slot, released_ns + offset_ns)
        self._log.append(
            released_ns,
            recording.session,
            self.index,
            EventKind.RELEASE,
            RELEASE_STRUCT,
            slot,
            target_ns + offset_ns,
            released_ns + offset_ns,
            rank,
        )

    def poll(self, now_ns: int, clock: ClockMap, grid: Grid) -> None:
        """Take the frames that are complete."""
        try:
            frames = self.camera.frames(now_ns)
        except CameraError as error:
            self.problem = str(error)
            self.failing_since_ns = self.failing_since_ns or now_ns
            return
        for frame in frames:
            self._take(frame, clock, grid)

    def finish_overdue(self, now_ns: int, grid: Grid) -> bool:
        """Give up what can no longer come once the last slot is long past; True when complete."""
        ledger = self.ledger
        last = ledger.last_slot
        if ledger.complete or last is None:
            return ledger.complete
        if now_ns < grid.time_ns(last) + self.camera.settle_ns:
            return False
        self._lose(ledger.lost_before(last + 1))
        ledger.give_up(0, last + 1)
        return True

    def write_state(self, session: int, state: AgentState, previous: AgentState) -> None:
        """Write a change of state, and wake the worker to see it."""
        self._log.append(
            monotonic_ns(), session, self.index, EventKind.STATE, STATE_STRUCT, state, previous
        )
        os.eventfd_write(self._wake, 1)

    def write_clock(self, session: int, kind: EventKind, reading: ClockReading, *rest: int) -> None:
        """Write what is known of the clock; ``rest``: offset, uncertainty, source."""
        self._log.append(
            reading.mono_ns,
            session,
            self.index,
            kind,
            CLOCK_STRUCT,
            reading.real_ns,
            reading.mono_ns,
            min(reading.width_ns, _MAX_U32),
            *rest,
        )

    def close(self) -> None:
        """Release camera and log."""
        self.camera.close()
        self._log.close()

    def _take(self, frame: CameraFrame, clock: ClockMap, grid: Grid) -> None:
        """Give a frame its slot and hand it over, unless it is outside or a duplicate."""
        if self.failing_since_ns:
            self.problem, self.failing_since_ns = "", 0
        middle_ns = midpoint_ns(
            frame.frame_start_ns,
            frame.exposure_ns,
            frame.line_time_ns,
            frame.rows,
            frame.sensor_delay_ns,
        )
        slot = grid.nearest_slot(middle_ns)
        error_ns = middle_ns - grid.time_ns(slot)
        self.phase_error_ns = error_ns
        if self._recording is None or self.ledger.judge(slot) is not Taken.DELIVER:
            return
        if slot != self.ledger.next_slot:
            self._lose(self.ledger.lost_before(slot))
        late = FrameFlag.LATE if 4 * abs(error_ns) > grid.period_ns else 0
        self._hand_over(frame, slot, late, self._recording, clock)
        self.ledger.take(slot)

    def _hand_over(
        self, frame: CameraFrame, slot: int, late: int, recording: Recording, clock: ClockMap
    ) -> None:
        """Pack the frame record straight into the ring and wake the worker."""
        log = self._log
        offset_ns = clock.offset_ns
        at = log.begin(monotonic_ns(), recording.session, self.index, EventKind.FRAME)
        FRAME_STRUCT.pack_into(
            log.buffer,
            at + _RECORD_AT,
            RECORD_VERSION,
            self.camera.lock_state,
            recording.flags | frame.flags | late,
            self.index,
            recording.session,
            slot,
            recording.grid.time_ns(slot),
            recording.rate_num,
            recording.rate_den,
            self.ledger.release_ns(slot),
            frame.frame_start_ns + offset_ns,
            frame.exposure_ns,
            frame.line_time_ns,
            frame.rows,
            frame.sequence,
            frame.frame_duration_ns,
            frame.gain_milli,
            frame.sensor_delay_ns,
            recording.clock_offset_ns,
            min(recording.clock_uncertainty_ns + clock.width_ns // 2, _MAX_U32),
            frame.stamp_uncertainty_ns,
        )
        shown = frame.picture + offset_ns if self.camera.shows_instant else frame.picture
        PICTURE_STRUCT.pack_into(log.buffer, at + _PICTURE_AT, shown)
        log.commit(at)
        os.eventfd_write(self._wake, 1)

    def _lose(self, slots: list[int]) -> None:
        recording = self._recording
        if recording is None or not slots:
            return
        for slot in slots:
            self._log.append(
                monotonic_ns(),
                recording.session,
                self.index,
                EventKind.LOST,
                LOST_STRUCT,
                slot,
                LossPlace.SENSOR,
            )
        self.ledger.give_up(len(slots), slots[-1] + 1)
