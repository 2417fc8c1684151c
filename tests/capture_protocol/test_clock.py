import time

from hypothesis import given
from hypothesis import strategies as st

from capture_protocol import ClockReading, read_clock


def test_a_reading_lies_between_readings_around_it() -> None:
    mono_before, real_before = time.monotonic_ns(), time.time_ns()
    reading = read_clock()
    mono_after = time.monotonic_ns()
    assert mono_before <= reading.mono_ns <= mono_after
    assert reading.width_ns >= 0
    assert reading.real_ns >= real_before - 10**9


@given(st.integers(0, 2**62), st.integers(0, 2**62), st.integers(0, 2**62))
def test_the_mapping_is_its_own_inverse(mono: int, real: int, instant: int) -> None:
    reading = ClockReading(mono, real, 100)
    assert reading.to_mono_ns(reading.to_real_ns(instant)) == instant
    assert reading.to_real_ns(mono) == real
