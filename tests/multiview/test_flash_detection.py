"""Flashes in row luminance: what is found, how exactly, and what is left alone."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multiview.flash import (
    Flash,
    FlashFootage,
    FlashInputError,
    RollingShutterCamera,
    RowFeatures,
)
from multiview.flash._detection import chain, find_pieces, reading_order, turned
from multiview.flash._edges import Kind, find_edges
from multiview.flash._track import track_flashes

SECOND = 1_000_000_000


def one_flash(onset_ns: float, *, seconds: float = 2, flash: dict | None = None, **camera):
    """Features of one camera that sees one flash, and the camera."""
    shooter = RollingShutterCamera("cam", **camera)
    shots = (Flash(round(onset_ns), **(flash or {})),)
    footage = FlashFootage("one", (shooter,), shots, round(seconds * SECOND))
    return footage.features("cam"), shooter, shots[0]


def half_light_ns(flash: Flash) -> float:
    return flash.onset_ns + (
        0.5 * flash.decay_ns if flash.rectangular else math.log(2) * flash.decay_ns
    )


def edge_errors_us(features, camera, flash) -> list[float]:
    errors = []
    for edges in find_edges(chain(find_pieces(features))):
        for edge in edges:
            exposure = camera.exposure_ns if edge.kind is Kind.TRAIL else 0.0
            instant = camera.world_ns(features.times_ns[edge.frame], edge.row) - exposure
            errors.append(float(instant - half_light_ns(flash)) / 1e3)
    return errors


@settings(max_examples=15, deadline=None)
@given(phase=st.floats(0.1, 0.6), decay_us=st.floats(200, 900), strength=st.floats(0.4, 1.5))
def test_edges_inside_the_picture_are_found_to_a_fraction_of_the_readout(phase, decay_us, strength):
    onset = SECOND + phase * SECOND / 30
    shape = {"decay_ns": decay_us * 1e3, "strength": strength}
    features, camera, flash = one_flash(onset, flash=shape, exposure_ns=6e6)
    errors = edge_errors_us(features, camera, flash)
    assert len(errors) == 2
    assert max(map(abs, errors)) < 250  # a hundredth of the readout; typically 30


def test_a_flash_of_another_shape_is_timed_nearly_as_well():
    features, camera, flash = one_flash(
        SECOND + 8e6, flash={"rectangular": True, "decay_ns": 1e6}, exposure_ns=8e6
    )
    lead, trail = edge_errors_us(features, camera, flash)
    assert abs(lead) < 150
    assert abs(lead - trail) < 100  # what both edges share cancels between cameras


def test_a_flash_across_two_frames_is_one_sighting_with_both_edges():
    features, _, _ = one_flash(SECOND + 0.8 * SECOND / 30, line_time_ns=60_000, exposure_ns=10e6)
    (sighting,) = chain(find_pieces(features))
    assert [piece.frame for piece in sighting.pieces] == [30, 31]
    (edges,) = find_edges([sighting])
    assert [edge.kind for edge in edges] == [Kind.LEAD, Kind.TRAIL]


def test_a_flash_in_the_readout_gap_is_missed_and_nothing_is_invented():
    # readout 5.4 of 33.3 ms, exposure 2 ms: a flash 20 ms after the frame start meets no row
    features, _, _ = one_flash(SECOND + 20e6, line_time_ns=10_000, exposure_ns=2e6)
    assert find_pieces(features) == []


def test_a_flash_that_lights_whole_frames_has_no_edge():
    features, _, _ = one_flash(SECOND + 25e6, line_time_ns=5_000, exposure_ns=30e6)
    (sighting,) = chain(find_pieces(features))
    assert find_edges([sighting]) == [[]]
    track = track_flashes(features)
    assert track.edge_count == 0
    assert len(track.events) == 1


def test_two_flashes_in_one_frame_are_two_sightings():
    camera = RollingShutterCamera("cam", line_time_ns=58_000, exposure_ns=3e6)
    shots = tuple(Flash(round(SECOND + after), decay_ns=2e5) for after in (4e6, 18e6))
    features = FlashFootage("two", (camera,), shots, 2 * SECOND).features("cam")
    sightings = chain(find_pieces(features))
    assert [s.frame for s in sightings] == [30, 30]
    assert all(len(edges) == 2 for edges in find_edges(sightings))


def test_light_that_stays_on_is_no_flash():
    features, _, _ = one_flash(5 * SECOND)
    brighter = features.luminance.copy()
    brighter[30:] *= 1.6
    assert find_pieces(RowFeatures(features.times_ns, brighter)) == []


def test_darkening_and_noise_are_no_flash():
    features, _, _ = one_flash(5 * SECOND)
    darker = features.luminance.copy()
    darker[30:32] *= 0.5
    assert find_pieces(RowFeatures(features.times_ns, darker)) == []
    assert find_pieces(features) == []


@pytest.mark.parametrize("upside_down", [False, True])
def test_the_reading_order_is_told_by_flashes_across_frames(upside_down):
    features, _, _ = one_flash(
        SECOND + 0.8 * SECOND / 30,
        line_time_ns=60_000,
        exposure_ns=10e6,
        upside_down=upside_down,
    )
    pieces = find_pieces(features)
    assert (reading_order(pieces) < 0) == upside_down
    assert reading_order(turned(pieces)) == -reading_order(pieces)


@pytest.mark.parametrize("upside_down", [False, True])
def test_the_light_curve_tells_the_reading_order_of_flashes_inside_one_frame(upside_down):
    features, _, _ = one_flash(SECOND + 12e6, exposure_ns=5e6, upside_down=upside_down)
    assert reading_order(find_pieces(features)) == 0
    assert track_flashes(features).upside_down == upside_down


def test_line_time_and_exposure_are_told_apart_by_one_camera_alone():
    camera = RollingShutterCamera("cam", Fraction(25), line_time_ns=68_000, exposure_ns=10e6)
    onsets = SECOND + np.cumsum([0.71, 0.83, 0.95, 0.787, 0.805, 0.917, 0.868]) * SECOND
    footage = FlashFootage("one", (camera,), tuple(Flash(round(t)) for t in onsets), 8 * SECOND)
    shutter = track_flashes(footage.features("cam")).shutter
    assert shutter.line_time_ns == pytest.approx(68_000, rel=0.01)
    assert shutter.exposure_ns == pytest.approx(10e6, rel=0.01)
    assert np.sqrt(shutter.covariance[0, 0]) < 1000


def test_what_one_camera_cannot_tell_is_stated_as_unknown():
    features, _, _ = one_flash(SECOND + 12e6, exposure_ns=5e6)
    shutter = track_flashes(features).shutter
    assert np.sqrt(shutter.covariance[0, 0]) > 0.2 * shutter.line_time_ns


@pytest.mark.parametrize(
    "times, rows", [([0, 1, 2], 3), ([*range(8), 7], 9), (list(range(9)), 8), ([], 0)]
)
def test_features_that_are_no_footage_are_refused(times, rows):
    with pytest.raises(FlashInputError):
        RowFeatures(np.array(times, dtype=np.int64), np.zeros((rows, 20), np.float32))


def test_the_generator_obeys_its_own_physics():
    """Row r gains light if and only if its exposure interval meets the flash."""
    camera = RollingShutterCamera("cam", exposure_ns=4e6, line_time_ns=40_000)
    times = camera.frame_times(SECOND)
    flash = Flash(times[10] + 10_000_000, decay_ns=100.0, strength=1.0)
    gain = camera.flash_gain(times, [flash])
    ends = camera.world_ns(times[:, None], np.arange(camera.height)[None, :])
    inside = (ends - camera.exposure_ns < flash.onset_ns) & (flash.onset_ns < ends - 3e3)
    assert (gain[inside] > 0.99).all()
    outside = (ends < flash.onset_ns) | (ends - camera.exposure_ns > flash.onset_ns + 3e3)
    assert (gain[outside] < 0.01).all()
    assert inside.sum() == pytest.approx(camera.exposure_ns / camera.line_time_ns, abs=1)
