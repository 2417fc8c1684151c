"""Which frames form a packet, from times alone."""

from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multiview.live._matcher import Match, Matcher, Timed, closest_together, spread_ns

S = 1_000_000_000
MS = 1_000_000
START = 1_800_000_000 * S
GRACE = 500 * MS
LATENCY = 80 * MS


def period(fps: int) -> int:
    return S // fps


class Rig:
    """Cameras that send in order of arrival; the matcher is asked after every frame."""

    def __init__(self, *times: list[int], latencies: tuple[int, ...] = ()) -> None:
        self.matcher: Matcher[int] = Matcher(len(times), GRACE)
        self.latencies = latencies or (LATENCY,) * len(times)
        self.arrivals = sorted(
            (time_ns + self.latencies[camera], camera, time_ns)
            for camera, frames in enumerate(times)
            for time_ns in frames
        )

    def run(self) -> Iterator[tuple[int, Match[int]]]:
        """Matches, each with the time when it came out."""
        for now_ns, camera, time_ns in self.arrivals:
            self.matcher.push(camera, time_ns, time_ns, now_ns)
            yield from ((now_ns, match) for match in self.ready(now_ns))

    def ready(self, now_ns: int) -> Iterator[Match[int]]:
        while (match := self.matcher.next_match(now_ns)) is not None:
            yield match

    def matches(self) -> list[Match[int]]:
        return [match for _, match in self.run()]


def frames(fps: int, phase_ns: int = 0, seconds: float = 4.0) -> list[int]:
    return [START + phase_ns + k * S // fps for k in range(round(fps * seconds))]


def spread(match: Match[int]) -> int:
    return spread_ns([frame.time_ns for frame in match.frames if frame is not None])


class TestRates:
    @settings(max_examples=40, deadline=None)
    @given(
        st.permutations((15, 25, 30)),
        st.integers(1, 3),
        st.tuples(*[st.integers(0, 200 * MS)] * 3),
        st.tuples(*[st.integers(10 * MS, 900 * MS)] * 3),
    )
    def test_mixed_rates_match_within_half_a_frame_of_the_slowest(
        self,
        rates: list[int],
        count: int,
        phases: tuple[int, ...],
        latencies: tuple[int, ...],
    ) -> None:
        rates = rates[:count]
        rig = Rig(*map(frames, rates, phases), latencies=latencies[:count])
        matches = rig.matches()
        slowest = min(rates)
        everyone_there_ns = START + max(phases[:count]) + period(slowest)
        matches = [match for match in matches if match.tick_ns >= everyone_there_ns]
        assert len(matches) >= 3.5 * slowest - 8
        for match in matches:
            assert None not in match.frames
            assert spread(match) <= period(slowest) / 2 + 3  # times are whole ns
        ticks = [match.tick_ns for match in matches]
        assert set(np.diff(ticks)) <= {S // slowest, S // slowest + 1}

    @settings(max_examples=30, deadline=None)
    @given(st.integers(1, 60), st.integers(0, 33 * MS), st.integers(0, 4))
    def test_equal_rates_pair_the_nearest_frames(self, fps: int, phase: int, jitter: int) -> None:
        rng = np.random.default_rng(jitter)
        noisy = [t + int(rng.integers(0, jitter * MS // 4 + 1)) for t in frames(fps, phase)]
        matches = Rig(frames(fps), noisy).matches()
        assert len(matches) >= 4 * fps - 4
        assert all(spread(match) <= period(fps) * 0.51 for match in matches)

    def test_no_frame_is_used_twice_and_times_increase(self) -> None:
        matches = Rig(frames(30, 3 * MS), frames(29, 11 * MS), frames(31)).matches()
        for camera in range(3):
            used = [m.frames[camera].time_ns for m in matches if m.frames[camera]]
            assert used == sorted(set(used))
            assert len(used) > 100


class TestLosses:
    def test_a_lost_frame_is_missing_once_and_costs_the_others_nothing(self) -> None:
        lossy = frames(30, 4 * MS)
        gone = lossy.pop(60)
        matches = Rig(frames(30), lossy).matches()
        without = [match for match in matches if match.frames[1] is None]
        assert [match.tick_ns + 4 * MS for match in without] == [gone]
        assert len(matches) >= 118

    @pytest.mark.parametrize("lost", [1, 5])
    def test_lost_frames_of_the_slowest_camera_leave_its_ticks(self, lost: int) -> None:
        slow = frames(15)
        del slow[20 : 20 + lost]
        matches = Rig(slow, frames(30)).matches()
        assert sum(match.frames[0] is None for match in matches) == lost
        assert all(match.frames[1] is not None for match in matches)
        assert len(matches) >= 58

    @pytest.mark.parametrize("stalled", [0, 1])
    def test_a_stalled_camera_delays_the_others_by_the_grace_only(self, stalled: int) -> None:
        """Both as the pacer and not."""
        times = [frames(25), frames(25, 6 * MS)]
        times[stalled] = times[stalled][:30]
        rig = Rig(*times)
        came = list(rig.run())
        alone = [(now, m) for now, m in came if m.frames[stalled] is None]
        assert len(alone) >= 50
        assert all(now - m.tick_ns <= GRACE + LATENCY + 2 * period(25) for now, m in alone)

    def test_a_lost_camera_is_not_waited_for(self) -> None:
        rig = Rig(frames(25)[:50], frames(10)[:20])
        for _ in rig.run():
            pass
        rig.matcher.lose(1)
        for k in range(50, 60):
            time_ns = frames(25)[k]
            rig.matcher.push(0, time_ns, k, time_ns + LATENCY)
            matches = list(rig.ready(time_ns + LATENCY))
            assert all(match.frames[1] is None for match in matches)
        assert matches[-1].tick_ns == frames(25)[59]

    def test_a_camera_whose_time_starts_anew_joins_again(self) -> None:
        rig = Rig(frames(25), frames(25)[:50])
        list(rig.run())
        rig.matcher.restart(1)
        for k in range(100, 150):
            time_ns = START + k * period(25)
            for camera in (0, 1):
                rig.matcher.push(camera, time_ns, k, time_ns + LATENCY)
            matches = list(rig.ready(time_ns + LATENCY))
        assert [frame.item for frame in matches[-1].frames] == [149, 149]

    def test_frames_that_were_held_back_are_not_overdue(self) -> None:
        """Two cameras; the second one's frames of two seconds are handed over all at once."""
        matcher: Matcher[int] = Matcher(2, GRACE)
        both = frames(30, seconds=2)
        now_ns = both[-1] + LATENCY
        for time_ns in both:
            matcher.push(0, time_ns, 0, time_ns + LATENCY)
        matches = []
        for time_ns in both:
            matcher.push(1, time_ns, 0, time_ns + LATENCY, now_ns)
            while (match := matcher.next_match(now_ns)) is not None:
                matches.append(match)
            now_ns += MS
        assert len(matches) == len(both)
        assert not any(None in match.frames for match in matches)
        assert matcher.offset_ns() == 0

    def test_all_times_may_go_back(self) -> None:
        rig = Rig(frames(25), frames(25))
        list(rig.run())
        back = [START - 3_600 * S + k * period(25) for k in range(50)]
        seen = []
        for camera in (0, 1):
            rig.matcher.restart(camera)
        for time_ns in back:
            for camera in (0, 1):
                rig.matcher.push(camera, time_ns, 0, time_ns + 3_600 * S + LATENCY)
            seen += rig.ready(time_ns + 3_600 * S + LATENCY)
        assert [match.tick_ns for match in seen] == back

    def test_nothing_is_matched_before_every_camera_has_shown_a_rate(self) -> None:
        matcher: Matcher[int] = Matcher(2, GRACE)
        for time_ns in frames(30):
            matcher.push(0, time_ns, 0, time_ns)
        assert not matcher.is_complete
        assert matcher.next_match(START + 100 * S) is None


class TestLimits:
    def test_waiting_frames_are_bounded(self) -> None:
        matcher: Matcher[int] = Matcher(2, GRACE, capacity=10)
        for time_ns in frames(30):
            matcher.push(0, time_ns, 0, time_ns)
        assert len(matcher.lanes[0].frames) == 10
        assert matcher.lanes[0].frames[-1].time_ns == frames(30)[-1]

    def test_offset_is_that_of_frames_that_arrive_together(self) -> None:
        matcher: Matcher[int] = Matcher(2, GRACE)
        matcher.push(0, START, 0, START + 40 * MS)
        matcher.push(1, START - 2 * S, 0, START + 100 * MS)
        assert matcher.is_complete
        assert matcher.offset_ns() == 2 * S + 60 * MS

    @settings(max_examples=25, deadline=None)
    @given(st.data())
    def test_whatever_comes_it_neither_hangs_nor_grows(self, data: st.DataObject) -> None:
        """Random frames, jumps, restarts and losses; then two good cameras are matched again."""
        matcher: Matcher[int] = Matcher(2, GRACE, capacity=20)
        now_ns = START
        for _ in range(data.draw(st.integers(0, 40))):
            now_ns += data.draw(st.integers(0, 200 * MS))
            camera = data.draw(st.integers(0, 1))
            action = data.draw(st.sampled_from(["push"] * 6 + ["restart", "lose"]))
            if action == "push":
                time_ns = now_ns + data.draw(st.integers(-400 * MS, 400 * MS))
                matcher.push(camera, time_ns, 0, now_ns)
            else:
                getattr(matcher, action)(camera)
            for _ in range(100):
                if matcher.next_match(now_ns) is None:
                    break
            else:
                pytest.fail("matches without end")
        for camera in (0, 1):
            matcher.restart(camera)
        good = 0
        for k in range(100):
            now_ns += 40 * MS
            for camera in (0, 1):
                matcher.push(camera, now_ns - LATENCY, k, now_ns)
            while (match := matcher.next_match(now_ns)) is not None:
                good += None not in match.frames
            assert all(len(lane.frames) <= 20 for lane in matcher.lanes)
        assert good > 20


TIMES = st.none() | st.integers(-50, 0)


@settings(deadline=None)
@given(st.lists(st.tuples(TIMES, st.none() | st.integers(1, 50)), min_size=1, max_size=6))
def test_the_choice_is_the_best_of_all_combinations(
    times: list[tuple[int | None, int | None]],
) -> None:
    def timed(time: int | None) -> Timed[int] | None:
        return None if time is None else Timed(time, 0)

    def cost(choice: tuple[int | None, ...]) -> tuple[int, int]:
        there = [time for time in choice if time is not None]
        return len(choice) - len(there), spread_ns(there)

    chosen = closest_together([(timed(b), timed(a)) for b, a in times], 0)
    found = cost(tuple(None if frame is None else frame.time_ns for frame in chosen))
    assert found == min(map(cost, product(*times)))
