"""The report: one file, honest at any length, safe with any text."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture_protocol import LossPlace
from control_server.audit import run_audit
from control_server.audit.account import SlotState
from control_server.audit.envelope import bin_edges, bins_of, envelope
from control_server.audit.figures import gap_map, make_figures
from control_server.audit.rebuild import rebuild_frames
from control_server.audit.report import render_report
from control_server.audit.skew import Skew
from control_server.audit.svg import Axis
from tests.support.recording import Recording, seal


@pytest.fixture(scope="module")
def audit(tmp_path_factory):
    spec = Recording(
        lost={(0, 17): LossPlace.SENSOR, (1, 5): LossPlace.ENCODER}, late=frozenset({(1, 9)})
    )
    return run_audit(spec.build(tmp_path_factory.mktemp("report") / "s"))


class Outside(HTMLParser):
    """Collects what a page would load."""

    def __init__(self):
        super().__init__()
        self.loaded = []
        self.tags = set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.loaded += [value for name, value in attrs if name in ("src", "href", "data")]


def test_the_page_is_whole_and_loads_nothing(audit):
    page = render_report(audit)
    parser = Outside()
    parser.feed(page)
    assert parser.loaded == []
    assert "script" not in parser.tags
    assert "url(" not in page
    assert "FAIL" in page
    assert audit.result.sentence in page
    for check in audit.result.checks:
        assert check.title.replace("'", "&#39;") in page


def test_every_figure_is_well_formed_and_has_a_caption(audit):
    figures = make_figures(audit)
    assert [figure.title for figure in figures] == [
        "Every slot",
        "Skew",
        "Grid error",
        "Grid error over time",
        "Release error",
        "Clock over time",
    ]
    for figure in figures:
        assert figure.caption.endswith(".")
        assert ElementTree.fromstring(str(figure.picture)).tag == "svg"
        assert "nan" not in figure.picture


def test_the_gap_map_shows_each_loss_at_its_slot(audit):
    figure = gap_map(audit)
    tips = re.findall(r"<title>(.*?)</title>", figure.picture)
    assert "cam0, slots 17–17: 1 sensor" in tips
    assert "cam1, slots 5–5: 1 encoder" in tips
    assert "cam1, slots 9–9: 1 late" in tips
    assert "lost: sensor" in figure.legend
    assert "lost: network" not in figure.legend


def test_text_from_files_is_escaped(tmp_path):
    folder = Recording(cameras=1, slots=10).build(tmp_path / "s")
    manifest = seal(folder, complete=False)
    folder.write_manifest(manifest.model_copy(update={"reason": "<script>alert(1)</script>"}))
    page = render_report(run_audit(folder))
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_a_session_without_frames_has_a_report(tmp_path):
    folder = Recording(cameras=1, slots=10).build(tmp_path / "s")
    for path in folder.segments("cam0"):
        path.unlink()
    folder.manifest_path.unlink()
    rebuild_frames(folder)
    audit = run_audit(folder)
    assert audit.result.check("account").verdict == "fail"
    assert "No camera delivered a single frame" in render_report(audit)


def test_a_long_session_of_sixteen_cameras_stays_below_two_megabytes_and_shows_one_lost_slot(audit):
    slots = 60_000
    rng = np.random.default_rng(1)
    cameras = [_stretched(audit.cameras[0], slots, rng) for _ in range(16)]
    cameras[3].states[33_333] = SlotState.NETWORK
    skew = Skew(np.arange(slots), rng.integers(0, 50_000, slots))
    session = replace(audit.session, slots=slots)
    page = render_report(replace(audit, cameras=cameras, skew=skew, session=session))
    assert len(page.encode()) < 2_000_000
    assert ": 1 network" in page


def _stretched(camera, slots, rng):
    errors = rng.normal(0, 5_000, slots).astype(np.int64)
    return replace(
        camera,
        states=np.full(slots, SlotState.DELIVERED, np.uint8),
        times=replace(
            camera.times,
            slots=np.arange(slots, dtype=np.uint64),
            grid_error_ns=errors,
            late=np.zeros(slots, np.bool_),
            repeated=np.zeros(slots, np.bool_),
            released=np.ones(slots, np.bool_),
            release_error_ns=np.abs(errors),
            clock_offset_ns=errors // 10,
            clock_uncertainty_ns=np.full(slots, 5_000),
        ),
    )


@given(
    st.lists(st.tuples(st.integers(0, 999), st.integers(-(10**9), 10**9)), min_size=1),
    st.integers(1, 400),
)
def test_an_envelope_hides_no_extreme_value(pairs, bins):
    at, values = (np.array(column) for column in zip(*pairs, strict=True))
    found = envelope(at, values, 1000, bins)
    edges = bin_edges(1000, bins)
    for number in range(bins):
        inside = sorted(values[(at >= edges[number]) & (at < edges[number + 1])].tolist())
        if not inside:
            assert np.isnan(found.highest[number])
            continue
        assert found.highest[number] == inside[-1]
        assert found.median[number] == inside[(len(inside) - 1) // 2]
        assert found.median[number] <= found.p99[number] <= found.highest[number]


@given(st.integers(1, 10**7))
def test_bins_cover_every_slot_once(slots):
    edges = bin_edges(slots, bins_of(slots))
    assert (edges[0], edges[-1]) == (0, slots)
    assert (np.diff(edges) > 0).all()


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_are_few_round_and_inside(low, span):
    axis = Axis(low, low + span, "µs")
    ticks = axis.ticks()
    assert 1 <= len(ticks) <= 7
    assert all(low - span * 1e-6 <= tick <= low + span * (1 + 1e-6) for tick in ticks)


def test_logarithmic_ticks_are_decades():
    axis = Axis(0.1, 2e4, "µs", log=True)
    assert [axis.label(tick) for tick in axis.ticks()] == [
        "0.1 µs",
        "1 µs",
        "10 µs",
        "100 µs",
        "1 ms",
        "10 ms",
    ]
    assert axis.share(0.0) == 0.0
