"""Pure parts of the picamera backend: metadata, clocks, counting, modes, the virtual sensor."""

import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture_protocol.errors import InputError
from edge_agent.camera import CameraError
from edge_agent.picamera.codec import has_hardware_encoder, wants_hardware
from edge_agent.picamera.metadata import FrameCounter, StampClock, read_facts
from edge_agent.picamera.modes import choose_mode
from edge_agent.picamera.virtual import (
    VBLANK_DELAY,
    FrameClock,
    programmed_ns,
    virtual_mode,
)
from edge_agent.sensor import FrameDurationLimits
from tests.edge_agent.test_picamera import config

PERIOD_NS = 33_333_333
instants = st.integers(min_value=10**12, max_value=10**17)


def test_facts_of_a_pi_camera() -> None:
    facts = read_facts(
        {
            "SensorTimestamp": 5_000_123_456,
            "ExposureTime": 3999,
            "FrameDuration": 33_331,
            "AnalogueGain": 1.1228070259094238,
            "Lux": 400.0,
        }
    )
    assert facts == (5_000_123_456, 3_999_000, 33_331_000, 1123)


def test_what_a_camera_does_not_report_is_zero() -> None:
    assert read_facts({"SensorTimestamp": 1}) == (1, 0, 0, 0)


@pytest.mark.parametrize("metadata", [{}, {"SensorTimestamp": 0}])
def test_no_stamp_is_an_error(metadata: dict[str, int]) -> None:
    with pytest.raises(CameraError, match="SensorTimestamp"):
        read_facts(metadata)


@given(instants, st.integers(0, 10**15), st.integers(0, 10**9), st.booleans())
def test_a_stamps_clock_is_recognised(
    mono_ns: int, asleep_ns: int, age_ns: int, boot: bool
) -> None:
    """Whatever the clock, the mapped stamp is as old as the frame (to 1 ms)."""
    stamp_ns = mono_ns + (asleep_ns if boot else 0) - age_ns
    clock = StampClock.recognise(stamp_ns, mono_ns, mono_ns + asleep_ns)
    mapped_ns = stamp_ns + clock.to_monotonic_ns
    ambiguous = asleep_ns < 3_000_000_000  # slept for less than a frame may be old
    if not ambiguous:
        assert clock.name == ("CLOCK_BOOTTIME" if boot else "CLOCK_MONOTONIC")
        assert mapped_ns == mono_ns - age_ns


@given(instants, st.integers(min_value=4 * 10**9, max_value=10**15))
def test_a_stamp_of_no_known_clock_is_refused(mono_ns: int, away_ns: int) -> None:
    with pytest.raises(CameraError, match="neither"):
        StampClock.recognise(mono_ns + away_ns, mono_ns, mono_ns)


@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(-500_000, 500_000)), max_size=60),
    st.booleans(),
)
def test_frames_are_numbered_by_time_whatever_the_reported_sequence(
    steps: list[tuple[int, int]], restarts: bool
) -> None:
    """Any losses, 0.5 ms of jitter, a sequence that counts only deliveries or restarts."""
    counter = FrameCounter(PERIOD_NS)
    counter.count(10**12, 0, PERIOD_NS)
    number = 0
    for delivery, (lost, jitter_ns) in enumerate(steps, start=1):
        number += lost + 1
        reported = 0 if restarts else delivery
        stamp_ns = 10**12 + number * PERIOD_NS + jitter_ns
        assert counter.count(stamp_ns, reported, PERIOD_NS) == number
    assert counter.missed == sum(lost for lost, _ in steps)


def test_where_stamps_fit_no_frame_the_sequence_decides() -> None:
    counter = FrameCounter(PERIOD_NS)
    counter.count(10**12, 100, 0)
    assert counter.count(10**12 + PERIOD_NS * 5 // 2, 103, 0) == 3
    assert counter.count(10**12 + PERIOD_NS * 5 // 2, 104, 0) == 4


def test_a_frame_that_was_stretched_by_the_genlock_is_one_frame() -> None:
    counter = FrameCounter(PERIOD_NS)
    counter.count(10**12, 0, 2 * PERIOD_NS)
    assert counter.count(10**12 + 2 * PERIOD_NS, 1, PERIOD_NS) == 1


def test_the_smallest_mode_that_holds_the_picture() -> None:
    assert choose_mode("imx708_wide_noir", "", 1280, 720).name == "imx708-1536"
    assert choose_mode("imx708", "", 2304, 1296).name == "imx708-2304"
    assert choose_mode("imx477", "", 4056, 3040).name == "imx477-4056"
    assert choose_mode("imx296", "", 9000, 9000).name == "imx296-1456"
    assert choose_mode("imx708", "imx708-4608", 640, 480).name == "imx708-4608"


def test_an_unknown_sensor_names_a_way_out() -> None:
    with pytest.raises(InputError, match="ov9281") as refused:
        choose_mode("ov9281", "", 640, 480)
    assert "imx296-1456" in refused.value.hint
    assert choose_mode("ov9281", "imx296-1456", 640, 480).name == "imx296-1456"


@given(st.lists(st.integers(16_700, 60_000) | st.none(), min_size=4, max_size=50))
def test_the_virtual_sensor_obeys_after_its_control_delay(lengths: list[int | None]) -> None:
    clock = FrameClock(0, PERIOD_NS, ppm=0.0)
    starts = [clock.start_ns]
    for length in lengths:
        clock.advance(length)
        starts.append(clock.start_ns)
    durations = [after - before for before, after in itertools.pairwise(starts)]
    commanded = PERIOD_NS
    for frame, length in enumerate(lengths):
        commanded = commanded if length is None else length
        if frame + 1 + VBLANK_DELAY < len(durations):
            assert durations[frame + 1 + VBLANK_DELAY] == commanded
    assert durations[: VBLANK_DELAY + 1] == [PERIOD_NS] * (VBLANK_DELAY + 1)


def test_the_virtual_sensors_oscillator_errs() -> None:
    clock = FrameClock(0, 1_000_000, ppm=50.0)
    for _ in range(1000):
        clock.advance(None)
    assert clock.start_ns == pytest.approx(1_000_050_000, abs=1)


def test_virtual_mode_stays_above_libcameras_shortest_frame() -> None:
    mode = virtual_mode(1280, 720, 16_666)
    assert mode.shortest_frame_ns >= 16_666_000
    for lines in range(mode.shortest_lines, mode.shortest_lines + 50):
        limit_us = mode.limit_us(lines)
        programmed = programmed_ns(FrameDurationLimits(limit_us, limit_us))
        assert programmed == lines * mode.line_time_ns


def test_hardware_is_chosen_where_it_is() -> None:
    assert wants_hardware(config(), present=True)
    assert not wants_hardware(config(), present=False)
    assert not wants_hardware(config(width=2304, height=1296), present=True)
    assert not wants_hardware(config(options={"encoder": "x264"}), present=True)
    assert wants_hardware(config(options={"encoder": "hardware"}), present=True)


@pytest.mark.parametrize(
    ("changes", "present", "message"),
    [
        ({"options": {"encoder": "hardware"}}, False, "has none"),
        ({"options": {"encoder": "hardware"}, "width": 2304, "height": 1296}, True, "larger than"),
        ({"options": {"encoder": "gpu"}}, True, "auto, hardware or x264"),
    ],
)
def test_impossible_encoders_are_refused(
    changes: dict[str, Any], present: bool, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        wants_hardware(config(**changes), present=present)


def test_a_pi4_codec_is_recognised(tmp_path: Path) -> None:
    name = tmp_path / "name"
    assert not has_hardware_encoder(name)
    name.write_text("bcm2835-codec-encode\n")
    assert has_hardware_encoder(name)
    name.write_text("pispbe-input\n")
    assert not has_hardware_encoder(name)
