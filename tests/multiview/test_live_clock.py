"""Sender reports, the clock they tell, and the stamps that follow: no server, no waiting."""

import struct
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multiview.live import ClockState, StreamBrokenError, Timing, Verdict
from multiview.live._reports import ClockPoint, Report, ReportReader, signed32
from multiview.live._sender_clock import JUMP_NS, SenderClock, fit
from multiview.live._stamper import Stamper

S = 1_000_000_000
MS = 1_000_000
NTP_EPOCH_S = 2_208_988_800
TICKS = Fraction(1, 90_000)
UTC = 1_800_000_000 * S
LATENCY = 50 * MS


def ntp(utc_ns: int) -> int:
    """As a sender writes it: 32.32 fixed point, rounded up so that truncation returns it."""
    return -((-(utc_ns + NTP_EPOCH_S * S) << 32) // S) % (1 << 64)


def point(second: float, ahead_ns: int = 0, drift: float = 0.0) -> ClockPoint:
    """A report at this second of the stream, whose clock is ahead and drifts."""
    source_ns = round(second * S)
    return ClockPoint(source_ns, UTC + source_ns + ahead_ns + round(drift * source_ns))


def fed(clock: SenderClock, *points: ClockPoint) -> SenderClock:
    """A clock that got these reports, from a sender whose frames take LATENCY."""
    for report in points:
        clock.add(report, UTC + LATENCY)
    return clock


class TestReports:
    @given(st.integers(946_684_801 * S, (1 << 32) * S + 0x7FFF_0000 * S - NTP_EPOCH_S * S))
    def test_ntp_time_is_exact_also_after_its_wrap_in_2036(self, utc_ns: int) -> None:
        assert Report(1, ntp(utc_ns), 0).utc_ns == utc_ns

    def test_parses_what_ffmpeg_attaches(self) -> None:
        payload = struct.pack("@IQIII", 7, ntp(UTC), 99, 1, 2)
        assert Report.from_bytes(payload) == Report(7, ntp(UTC), 99)

    @given(st.integers(0, (1 << 32) - 1), st.integers(-(1 << 31), (1 << 31) - 1))
    def test_rtp_differences_survive_the_wrap(self, start: int, step: int) -> None:
        assert signed32((start + step) % (1 << 32) - start) == step

    @given(
        st.integers(0, (1 << 32) - 1),
        st.integers(0, 90_000 * 60),
        st.lists(st.integers(1, 90_000 * 60), min_size=1, max_size=20),
    )
    def test_points_follow_the_stream_times_of_packets(
        self, base: int, first: int, steps: list[int]
    ) -> None:
        """Packets count from ``base``; the first report comes ``first`` ticks later."""
        reader = ReportReader(TICKS)
        ticks, start_us = first, UTC // 1_000
        for step in [0, *steps]:
            ticks += step
            utc_ns = UTC + round(ticks * TICKS * S)
            found = reader.read(Report(1, ntp(utc_ns), (base + ticks) % (1 << 32)), start_us, UTC)
            assert found == ClockPoint(round(ticks * TICKS * S), utc_ns)

    def test_repeated_and_clockless_reports_tell_nothing(self) -> None:
        reader = ReportReader(TICKS)
        report = Report(1, ntp(UTC), 5)
        assert reader.read(report, UTC // 1_000, UTC) is not None
        assert reader.read(report, UTC // 1_000, UTC) is None
        assert ReportReader(TICKS).read(report, None, UTC) is None
        for seconds in (0, 3_600):
            uptime = Report(1, seconds << 32, 5)
            assert ReportReader(TICKS).read(uptime, 0, UTC) is None

    def test_another_sender_is_not_believed(self) -> None:
        reader = ReportReader(TICKS)
        reader.read(Report(1, ntp(UTC), 5), UTC // 1_000, UTC)
        with pytest.raises(StreamBrokenError, match="another sender"):
            reader.read(Report(2, ntp(UTC + S), 90_005), UTC // 1_000, UTC)


class TestSenderClock:
    @settings(max_examples=40)
    @given(
        st.floats(-1e-4, 1e-4),
        st.lists(st.floats(0.5, 7.5), min_size=0, max_size=40),
        st.floats(0, 1),
    )
    def test_exact_reports_give_times_within_the_bound(
        self, drift: float, gaps: list[float], ahead: float
    ) -> None:
        seconds = np.cumsum([1.0, *gaps])
        clock = fed(SenderClock(), *(point(s, drift=drift) for s in seconds))
        source_ns = round((seconds[-1] + ahead * 7.5) * S)
        stamp = clock.stamp(source_ns)
        truth_ns = UTC + source_ns + round(drift * source_ns)
        assert abs(stamp.time_ns - truth_ns) <= stamp.bound_ns
        assert stamp.bound_ns < 3 * MS
        assert stamp.clock is ClockState.STEADY and stamp.timing is Timing.SENDER_REPORT
        assert not clock.findings

    @pytest.mark.parametrize("noise_ms", [0.02, 0.2, 1.0])
    def test_the_bound_holds_99_of_100_noisy_reports(self, noise_ms: float) -> None:
        rng = np.random.default_rng(4)
        inside, sizes = [], []
        for _ in range(200):
            drift = rng.normal(0, 5e-5)
            count = rng.integers(8, 32)
            points = [
                point(5 * k, round(rng.normal(0, noise_ms) * MS), drift) for k in range(count)
            ]
            at_ns = points[-1].source_ns + 2 * S
            fitted = fit(points)
            error = fitted.at(at_ns) - (UTC + at_ns + round(drift * at_ns))
            inside.append(abs(error) <= fitted.bound_ns(at_ns))
            sizes.append(abs(error))
        assert np.mean(inside) >= 0.97
        assert np.median(sizes) < 0.6 * noise_ms * MS

    def test_a_single_wrong_report_changes_nothing_but_the_bound(self) -> None:
        steady = [point(5 * k) for k in range(6)]
        clock = fed(SenderClock(), *steady, point(30, ahead_ns=2 * S))
        doubtful = clock.stamp(31 * S)
        assert doubtful.clock is ClockState.IN_DOUBT
        assert abs(doubtful.time_ns - UTC - 31 * S) < 1_000
        assert doubtful.bound_ns > 2 * S
        fed(clock, point(35))
        assert clock.stamp(36 * S).clock is ClockState.STEADY
        assert clock.stamp(36 * S).bound_ns < MS
        assert [(f.verdict, round(f.step_ns / S)) for f in clock.findings] == [(Verdict.OUTLIER, 2)]

    def test_two_wrong_reports_that_disagree_are_two_outliers(self) -> None:
        clock = fed(SenderClock(), point(0), point(5), point(10, 2 * S), point(15, -9 * S))
        fed(clock, point(20))
        assert [f.verdict for f in clock.findings] == [Verdict.OUTLIER] * 2
        assert clock.epoch == 0

    @settings(max_examples=40)
    @given(st.integers(3 * S, 10**6 * S), st.sampled_from((-1, 1)))
    def test_a_clock_that_is_set_right_is_followed(self, error_ns: int, sign: int) -> None:
        wrong = [point(5 * k, sign * error_ns) for k in range(4)]
        clock = fed(SenderClock(), *wrong, point(20), point(25))
        stamp = clock.stamp(26 * S)
        assert abs(stamp.time_ns - UTC - 26 * S) < 1_000
        assert (stamp.epoch, stamp.clock) == (1, ClockState.STEADY)
        assert clock.findings[-1].verdict is Verdict.FOLLOWED
        assert abs(clock.findings[-1].step_ns + sign * error_ns) < 1_000

    @settings(max_examples=40)
    @given(st.integers(3 * S, 10**6 * S), st.sampled_from((-1, 1)))
    def test_a_clock_that_is_set_wrong_is_held_until_it_returns(
        self, error_ns: int, sign: int
    ) -> None:
        clock = fed(SenderClock(), *(point(5 * k) for k in range(4)))
        fed(clock, *(point(20 + 5 * k, sign * error_ns) for k in range(6)))
        held = clock.stamp(50 * S)
        assert abs(held.time_ns - UTC - 50 * S) < 1_000
        assert (held.epoch, held.clock) == (0, ClockState.HELD)
        fed(clock, point(50))
        returned = clock.stamp(51 * S)
        assert abs(returned.time_ns - UTC - 51 * S) < 1_000
        assert (returned.epoch, returned.clock) == (0, ClockState.STEADY)
        assert [f.verdict for f in clock.findings] == [Verdict.HELD, Verdict.RETURNED]

    def test_a_step_among_plausible_latencies_is_followed(self) -> None:
        """As ntpd steps a clock that is 200 ms off."""
        clock = fed(SenderClock(), point(0, -200 * MS), point(5, -200 * MS), point(10), point(15))
        assert abs(clock.stamp(16 * S).time_ns - UTC - 16 * S) < 1_000

    def test_a_slewed_clock_is_no_jump(self) -> None:
        clock = fed(SenderClock(), *(point(5 * k, drift=4e-4) for k in range(40)))
        assert not clock.findings
        truth_ns = UTC + 196 * S + round(4e-4 * 196 * S)
        assert abs(clock.stamp(196 * S).time_ns - truth_ns) < MS

    @settings(max_examples=60)
    @given(
        st.lists(
            st.tuples(st.integers(-10 * S, 10**5 * S), st.integers(-(10**7) * S, 10**7 * S)),
            min_size=1,
            max_size=40,
        )
    )
    def test_senseless_reports_neither_raise_nor_bend_the_rate(
        self, reports: list[tuple[int, int]]
    ) -> None:
        points = [ClockPoint(source_ns, UTC + utc_ns) for source_ns, utc_ns in reports]
        clock = fed(SenderClock(), *points)
        assert clock.stamp(0).bound_ns > 0
        assert abs(clock.timeline.drift) < 1e-2

    def test_findings_are_bounded(self) -> None:
        clock = fed(SenderClock(), point(0))
        for k in range(1, 500):
            fed(clock, point(k, (k % 2) * 4 * JUMP_NS))
        assert 0 < len(clock.findings) <= 64


class TestStamper:
    @staticmethod
    def run(
        stamper: Stamper[int], count: int, report_at: int | None, size: int = 1
    ) -> list[tuple[int, object]]:
        """Packets at 25 Hz with a report at one of them; returns what came out."""
        out = []
        for k in range(count):
            source_ns = k * 40 * MS
            arrival_ns = UTC + source_ns + LATENCY
            if k == report_at:
                stamper.report(ClockPoint(source_ns, UTC + source_ns), arrival_ns, source_ns)
            out += stamper.take(k, size, source_ns, arrival_ns)
        return out

    @settings(max_examples=30)
    @given(st.integers(0, 199))
    def test_frames_before_the_first_report_are_back_dated(self, report_at: int) -> None:
        out = self.run(Stamper(8 * S, 1 << 20), 200, report_at)
        assert [item for item, _ in out] == list(range(200))
        for item, stamp in out:
            assert stamp.time_ns == UTC + item * 40 * MS
            early = item < report_at
            assert stamp.timing is (Timing.BACK_DATED if early else Timing.SENDER_REPORT)
            assert 0 < stamp.bound_ns < 3 * MS

    def test_without_reports_frames_are_stamped_by_arrival(self) -> None:
        out = self.run(Stamper(2 * S, 1 << 20), 100, None)
        assert [item for item, _ in out] == list(range(100))
        assert all(stamp.timing is Timing.ARRIVAL for _, stamp in out)
        assert all(stamp.bound_ns is None for _, stamp in out)
        assert all(stamp.time_ns == UTC + item * 40 * MS + LATENCY for item, stamp in out)

    def test_waiting_ends_when_too_much_is_held_back(self) -> None:
        stamper: Stamper[int] = Stamper(1_000 * S, 1_000)
        assert self.run(stamper, 10, None, size=100) == []
        assert len(list(stamper.take(10, 100, 400 * MS, UTC))) == 11

    def test_a_late_report_starts_a_new_epoch(self) -> None:
        out = self.run(Stamper(S, 1 << 20), 100, 50)
        assert {(s.timing, s.epoch) for _, s in out[:50]} == {(Timing.ARRIVAL, 0)}
        assert {(s.timing, s.epoch) for _, s in out[50:]} == {(Timing.SENDER_REPORT, 1)}

    def test_packets_without_stream_time_keep_their_place(self) -> None:
        stamper: Stamper[int] = Stamper(0, 1 << 20)
        assert list(stamper.take(1, 1, None, UTC)) == [(1, None)]

    @given(st.lists(st.integers(0, 300 * MS), min_size=10, max_size=60))
    def test_jitter_of_arrival_does_not_reach_the_times(self, delays: list[int]) -> None:
        """Once a packet came without delay, frames are as regular as the sender's stream time."""
        stamper: Stamper[int] = Stamper(0, 1 << 20)
        times = []
        for k, delay_ns in enumerate([0, *delays]):
            source_ns = k * 40 * MS
            ((_, stamp),) = stamper.take(k, 1, source_ns, UTC + source_ns + LATENCY + delay_ns)
            times.append(stamp.time_ns)
        assert set(np.diff(times)) == {40 * MS}
