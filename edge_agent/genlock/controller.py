"""The genlock controller: estimate, look past the control delay, choose a whole number of lines."""

from fractions import Fraction

from capture_protocol.frame import LockState
from edge_agent.genlock.estimator import PhaseEstimator
from edge_agent.genlock.grid_period import GridPeriod
from edge_agent.genlock.headroom import check_headroom
from edge_agent.genlock.lock import LockDetector
from edge_agent.genlock.outliers import OutlierWatch
from edge_agent.genlock.plan import FramePlan
from edge_agent.genlock.report import Command, ObservedFrame, PhaseReport
from edge_agent.sensor import FrameDurationLimits, SensorMode

_NS_PER_S = 1_000_000_000
_BOUND_SIGMAS = 2.576  # 99 % of a normal distribution, two-sided
_HOPELESS_PERIODS = 0.25  # a phase known no better than this is not known
_HOLDOVER_LINES = 2  # a coasting phase known worse than this is given up
_MISFIT_LINES = 0.25  # a duration this far from whole lines is not rounding to µs
_MISFIT_MEMORY = 1 / 32  # frames
_MISFIT_LIMIT = 0.25  # share of frames whose duration is not a whole number of lines
_LONGEST_PULL_NS = 1e9  # a late sensor that cannot catch up within this lets one slot pass


class Genlock:
    """Phase-locks one sensor to the grid; see the package for how to drive it.

    ``rate_hz`` is the grid's exact rate. Raises HeadroomError for a rate the mode cannot be
    steered at. ``vblank_delay`` overrides the mode's control delay (frames).
    """

    def __init__(
        self, mode: SensorMode, rate_hz: Fraction, *, vblank_delay: int | None = None
    ) -> None:
        check_headroom(mode, rate_hz)
        self.mode = mode
        self._period = GridPeriod(float(_NS_PER_S / rate_hz))
        delay = mode.vblank_delay if vblank_delay is None else vblank_delay
        self._plan = FramePlan(delay, round(self._period.nominal_ns / mode.line_time_ns))
        self._estimator = PhaseEstimator()
        self._detector = LockDetector(mode.line_time_ns)
        self._outliers = OutlierWatch()
        self._silent_slots = 0
        self._misfit = 0.0
        self._slot_ns = 0  # a near slot, to which the estimator's phase refers
        self._seen = False
        self._last_sequence = 0
        self._target_ns = -mode.midpoint_offset_ns(0.0)
        self._report = PhaseReport(LockState.FREE, 0.0, self._period.nominal_ns, 0, 0, False, 0.0)

    @property
    def state(self) -> LockState:
        """The lock state as of the last frame or slot."""
        return self._report.state

    @property
    def line_time_fits(self) -> bool:
        """Whether the frames' durations are whole lines of the mode: if not, the mode is wrong."""
        return self._misfit < _MISFIT_LIMIT

    def midpoint_ns(self, frame: ObservedFrame) -> int:
        """Return the exposure midpoint of the middle row after the frame's own stamp."""
        return frame.frame_start_ns + round(self.mode.midpoint_offset_ns(frame.exposure_ns))

    def command(self) -> Command:
        """Choose the frame length for the request that is about to be queued, after all before."""
        lines = self._choose_lines()
        limit_us = self.mode.limit_us(lines)
        cookie = self._plan.issue(lines)
        return Command(cookie, FrameDurationLimits(limit_us, limit_us), lines)

    def observe(self, frame: ObservedFrame, slot_ns: int) -> PhaseReport:
        """Take in a delivered frame; ``slot_ns`` is the Tn of a near slot, monotonic ns.

        A frame that was delivered before changes nothing.
        """
        if self._seen and frame.sequence == self._last_sequence:
            return self._report
        self._last_sequence = frame.sequence
        reported = self._reported_lines(frame.frame_duration_ns)
        elapsed_lines = self._plan.advance(frame.sequence, frame.cookie, reported)
        stretch = 1 + self._estimator.rate  # the rows are read on the sensor's own clock
        self._target_ns = -self.mode.midpoint_offset_ns(frame.exposure_ns) * stretch
        self._silent_slots = 0
        if elapsed_lines is None:
            self._begin(frame.frame_start_ns, slot_ns)
            trusted = True
        else:
            trusted = self._track(frame.frame_start_ns, slot_ns, elapsed_lines)
        return self._judge(trusted)

    def coast(self) -> PhaseReport:
        """Note that a slot passed without a frame: the estimate coasts and its σ grows."""
        self._silent_slots += 1
        if not self._seen:
            return self._report
        silent_ns = self._silent_slots * self._period.nominal_ns
        sigma_ns = self._estimator.sigma_after_ns(silent_ns)
        if sigma_ns > _HOPELESS_PERIODS * self._period.nominal_ns:
            state = self._detector.reset()
        else:
            state = self._detector.judge(self._report.phase_error_ns, sigma_ns, trusted=False)
        self._report = self._report._replace(state=state, uncertainty_ns=_BOUND_SIGMAS * sigma_ns)
        return self._report

    def _reported_lines(self, duration_ns: int) -> int:
        """Return a reported duration in lines, 0 if there is none; note whether they fit."""
        lines = round(duration_ns / self.mode.line_time_ns)
        if lines:
            odd = abs(lines - duration_ns / self.mode.line_time_ns) > _MISFIT_LINES
            self._misfit += _MISFIT_MEMORY * (odd - self._misfit)
        return lines

    def _choose_lines(self) -> int:
        """Return the length that puts the frame after the settled ones on the grid.

        The rounding to whole lines stays in the predicted phase and is made up for by the
        next frames: a first-order sigma-delta modulator.
        """
        line_ns = self._line_ns()
        if not self._plan.lengths:
            return self._clamp(self._period.nominal_ns / line_ns)
        error_ns = self._settled_error_ns()
        if self._too_late(error_ns):
            error_ns -= self._period.ns
        return self._clamp((self._period.ns - error_ns) / line_ns)

    def _line_ns(self) -> float:
        return self.mode.line_time_ns * (1 + self._estimator.rate)

    def _settled_error_ns(self) -> float:
        """Return the phase error that all commands so far lead to."""
        settled = self._plan.lengths
        ahead_ns = sum(settled) * self._line_ns() - len(settled) * self._period.ns
        return self._period.wrap(self._estimator.phase_ns + ahead_ns - self._target_ns)

    def _largest_coming_ns(self) -> float:
        """Return the largest phase error on the way through all commands so far."""
        line_ns, error_ns, largest_ns = self._line_ns(), 0.0, 0.0
        start_ns = self._estimator.phase_ns - self._target_ns
        for lines in self._plan.lengths:
            error_ns += lines * line_ns - self._period.ns
            largest_ns = max(largest_ns, abs(self._period.wrap(start_ns + error_ns)))
        return largest_ns

    def _too_late(self, error_ns: float) -> bool:
        gain_ns = self._period.nominal_ns - self.mode.shortest_frame_ns
        return error_ns / gain_ns * self._period.nominal_ns > _LONGEST_PULL_NS

    def _clamp(self, lines: float) -> int:
        return min(max(round(lines), self.mode.shortest_lines), self.mode.longest_lines)

    def _begin(self, frame_start_ns: int, slot_ns: int) -> None:
        self._slot_ns, self._seen = slot_ns, True
        self._estimator.restart(float(frame_start_ns - slot_ns))
        self._outliers.forget()

    def _track(self, frame_start_ns: int, slot_ns: int, elapsed_lines: int) -> bool:
        """Predict to this frame and weigh its stamp; tell whether the stamp was believed."""
        estimator = self._estimator
        estimator.predict(elapsed_lines * self.mode.line_time_ns)
        self._slot_ns = self._move_grid(slot_ns)
        innovation_ns = frame_start_ns - self._slot_ns - estimator.phase_ns
        innovation_ns -= self._uncounted_ns(innovation_ns)
        if estimator.start(innovation_ns):
            return True
        believed = abs(innovation_ns) <= estimator.gate_ns
        estimator.learn_noise(innovation_ns)
        if not believed:
            return self._reject(innovation_ns)
        estimator.update(innovation_ns)
        self._outliers.believed()
        return True

    def _move_grid(self, slot_ns: int) -> int:
        """Refer the phase to a near slot and learn the grid's period; return that slot.

        The slot of a stamp that lies is not near the predicted frame: whole periods then serve.
        """
        phase_ns, period_ns = self._estimator.phase_ns, self._period.ns
        moved_ns = slot_ns - self._slot_ns
        if abs(phase_ns - moved_ns) > 2 * period_ns:
            moved_ns = round(period_ns * round(phase_ns / period_ns))
        else:
            self._period.learn(moved_ns)
        self._estimator.phase_ns -= moved_ns
        return self._slot_ns + moved_ns

    def _uncounted_ns(self, innovation_ns: float) -> float:
        """Follow a stamp that is late by whole frames: frames were lost and not counted."""
        frames = round(innovation_ns / self._period.ns)
        spread_ns = self._estimator.gate_ns + 2 * frames * self.mode.line_time_ns
        if frames < 1 or abs(innovation_ns - frames * self._period.ns) > spread_ns:
            return 0.0
        skipped_ns = self._plan.skip(frames) * self._line_ns()
        self._estimator.phase_ns += skipped_ns
        return skipped_ns

    def _reject(self, innovation_ns: float) -> bool:
        """Note an outlier; if the last ones agree, or never do, follow them after all."""
        jump_ns = self._outliers.rejected(innovation_ns, self._estimator.gate_ns)
        if jump_ns is not None:
            self._estimator.shift(jump_ns)
            self._outliers.forget()
            return True
        if self._outliers.lost and not self._can_hold_over():
            self._estimator.restart(self._estimator.phase_ns + innovation_ns)
            self._outliers.forget()
            self._detector.reset()
        return False

    def _can_hold_over(self) -> bool:
        """Tell whether the prediction of a lock that once was is still better than its stamps."""
        sigma_limit_ns = _HOLDOVER_LINES * self.mode.line_time_ns
        return self.state is LockState.HOLDOVER and self._estimator.sigma_ns <= sigma_limit_ns

    def _judge(self, believed: bool) -> PhaseReport:
        estimator = self._estimator
        error_ns = self._period.wrap(estimator.phase_ns - self._target_ns)
        sigma_ns = estimator.sigma_ns
        coming_ns = 0.0 if self.state is LockState.LOCKED else self._largest_coming_ns()
        state = self._detector.judge(error_ns, sigma_ns, believed, coming_ns)
        self._report = PhaseReport(
            state=state,
            phase_error_ns=error_ns,
            uncertainty_ns=_BOUND_SIGMAS * sigma_ns,
            frame_start_ns=self._slot_ns + round(estimator.phase_ns),
            midpoint_ns=self._slot_ns + round(estimator.phase_ns - self._target_ns),
            outlier=not believed,
            rate_ppm=estimator.rate * 1e6,
        )
        return self._report
