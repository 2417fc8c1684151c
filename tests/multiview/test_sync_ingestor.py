"""Several files read as one, against the truth in their pictures."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from multiview.errors import SourceClosedError, SourceOpenError, SyncConfigError
from multiview.live import LiveVideoSource
from multiview.sources import NS_PER_S, FileVideoSource, SessionVideoSource
from multiview.sync import VideoIngestor, VideoSourceConfig
from multiview.synthetic import SyntheticVideoSource
from multiview.timeline import Timeline
from tests.multiview.clips import Clip, encode, shown_number, steady, varying

SIZE = (512, 64)


@pytest.fixture(scope="module")
def cameras(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Clip]:
    folder = tmp_path_factory.mktemp("cameras")
    gappy = [tick for n, tick in enumerate(steady(8)) if n not in (60, 100, 101, 102, 103)]
    recipes = {"a30": steady(8), "b25": steady(8, 25), "c60": steady(8, 60), "vfr": varying(8, 5)}
    recipes["gappy"] = gappy
    return {
        name: encode(folder / f"{name}.mp4", ticks, size=SIZE, b_frames=2)
        for name, ticks in recipes.items()
    }


@pytest.fixture
def configs(cameras: dict[str, Clip]) -> Callable[..., list[VideoSourceConfig]]:
    return lambda *names: [VideoSourceConfig(cameras[name].path, name) for name in names]


def test_the_lowest_rate_sets_the_grid_and_every_frame_is_the_nearest(cameras, configs) -> None:
    with VideoIngestor(configs("a30", "b25", "vfr"), sync_tolerance=0.05) as ingestor:
        sets = list(ingestor.frame_sets())
    times = [found.time_ns for found in sets]
    step_ns = {later - earlier for earlier, later in pairwise(times)}
    assert max(step_ns) - min(step_ns) <= 1
    for found in sets:
        for name, frame in found.valid.items():
            assert shown_number(frame) == cameras[name].nearest(found.time_ns)
            assert abs(frame.time_ns - found.time_ns) <= 50_000_000


def test_one_instant_and_a_batch_in_seconds(cameras, configs) -> None:
    with VideoIngestor(configs("a30", "b25", "c60")) as ingestor:
        frames = ingestor.get_frame_at_time(2.5)
        assert {name: shown_number(frame) for name, frame in frames.items()} == {
            "a30": 75, "b25": 62, "c60": 150,
        }  # fmt: skip
        batch = ingestor.get_frame_batch(start_time=1.0, end_time=2.0)
        assert len(batch) == 25
        assert [shown_number(found["c60"]) for found in batch[:3]] == [60, 62, 65]


def test_offset_and_drift_move_a_camera(cameras) -> None:
    late = VideoSourceConfig(cameras["b25"].path, "late", offset_seconds=2.3, drift_ppm=1000)
    plain = VideoSourceConfig(cameras["a30"].path, "plain", source_type="file")
    with VideoIngestor([plain, late]) as ingestor:
        frames = ingestor.get_frame_at_time(6.304)
        assert shown_number(frames["late"]) == 100
        assert frames["late"].time_ns == 6_304_000_000
        assert frames["late"].source_time_ns == 4_000_000_000
        before = ingestor.get_frame_at_time(1.0)
        assert before["plain"].is_valid
        assert before["late"].reason.startswith("nearest frame is 1300.0 ms after")
        metadata = ingestor.get_metadata()["late"]
        assert (metadata.start_ns, metadata.duration_ns) == (2_300_000_000, 8_008_000_000)


def test_a_timeline_takes_the_place_of_the_offset(cameras) -> None:
    timeline = Timeline(at_origin_ns=NS_PER_S, line_time_ns=10_000.0)
    config = VideoSourceConfig(cameras["a30"].path, "rolling", time_map=timeline)
    with VideoIngestor([config], min_cameras=1) as ingestor:
        frame = ingestor.frame_set_at(NS_PER_S).frames["rolling"]
        assert frame.time_ns == NS_PER_S + round(31.5 * 10_000)  # middle of 64 rows


def test_skip_keeps_only_complete_sets(configs) -> None:
    with VideoIngestor(configs("a30", "gappy"), strategy="skip", sync_tolerance=0.01) as ingestor:
        kept = {round(found.timestamp * 30) for found in ingestor.frame_sets()}
    assert set(range(240)) - kept == {60, 100, 101, 102, 103}


def test_partial_keeps_sets_with_enough_cameras(configs) -> None:
    with VideoIngestor(configs("a30", "gappy", "c60"), sync_tolerance=0.01) as ingestor:
        sets = {round(found.timestamp * 30): found for found in ingestor.frame_sets()}
    assert set(sets) == set(range(240))
    assert set(sets[101].valid) == {"a30", "c60"}
    assert "ms" in sets[101].frames["gappy"].reason


def test_interpolation_bridges_short_gaps_and_says_so(configs) -> None:
    with VideoIngestor(
        configs("a30", "gappy"), strategy="interpolate", sync_tolerance=0.01
    ) as ingestor:
        sets = {round(found.timestamp * 30): found for found in ingestor.frame_sets()}
    assert sets[60].frames["gappy"].metadata["interpolated"] == pytest.approx(0.5, abs=1e-6)
    assert set(range(240)) - set(sets) == {100, 101, 102, 103}


def test_the_highest_rate_fills_slower_cameras(configs) -> None:
    with VideoIngestor(
        configs("a30", "c60"), strategy="interpolate", target_rate="highest"
    ) as ingestor:
        sets = list(ingestor.frame_sets(1.0, 2.0))
    assert len(sets) == 60
    mixed = ["interpolated" in found.frames["a30"].metadata for found in sets]
    assert mixed == [False, True] * 30
    assert not any("interpolated" in found.frames["c60"].metadata for found in sets)


def test_a_reference_camera_sets_the_instants(cameras, configs) -> None:
    with VideoIngestor(configs("a30", "vfr"), reference="vfr", sync_tolerance=0.05) as ingestor:
        sets = list(ingestor.frame_sets())
    assert [found.time_ns for found in sets] == pytest.approx(cameras["vfr"].times_ns, abs=1)
    assert [shown_number(found.frames["vfr"]) for found in sets] == list(cameras["vfr"].shown)


def test_reading_forward_never_seeks(configs, monkeypatch) -> None:
    from multiview.sources._packets import PacketFile

    entries = []
    packets_from = PacketFile.packets_from

    def noted(self: PacketFile, number: int):
        entries.append(number)
        return packets_from(self, number)

    monkeypatch.setattr(PacketFile, "packets_from", noted)
    with VideoIngestor(configs("a30", "b25", "c60", "vfr"), sync_tolerance=0.05) as ingestor:
        assert sum(1 for _ in ingestor.frame_sets()) >= 200
    assert entries == [0, 0, 0, 0]


def test_frame_sets_are_lazy_and_the_window_is_bounded(configs) -> None:
    with VideoIngestor(configs("a30", "c60"), buffer_window=0.5) as ingestor:
        sets = ingestor.frame_sets()
        next(sets)
        held = [len(aligned._source._window) for aligned in ingestor.sources.values()]
        assert max(held) <= 4
        for _ in zip(range(100), sets, strict=False):
            pass
        held = [len(aligned._source._window) for aligned in ingestor.sources.values()]
        assert held == [15, 30]


def test_a_source_that_fails_gives_an_invalid_frame_with_the_reason(configs) -> None:
    with VideoIngestor(configs("a30", "b25", "c60")) as ingestor:
        ingestor.sources["b25"].release()
        frames = ingestor.get_frame_at_time(1.0)
    assert "not open" in frames["b25"].reason
    assert frames["a30"].is_valid
    assert frames["c60"].is_valid


def test_synthetic_sources_are_read_like_files() -> None:
    sources = [
        SyntheticVideoSource(f"cam{n}", 2, rate, size=(160, 90)) for n, rate in ((1, 30), (2, 25))
    ]
    with VideoIngestor([VideoSourceConfig.of(source) for source in sources]) as ingestor:
        sets = list(ingestor.frame_sets())
    assert len(sets) == 50
    assert all(len(found.valid) == 2 for found in sets)


def test_wrong_set_ups_are_refused_with_a_reason(cameras, tmp_path) -> None:
    a, b = (VideoSourceConfig(cameras[name].path, name) for name in ("a30", "b25"))
    cases = [
        ([], {}, "cannot be empty"),
        ([a], {}, "At least 2 cameras"),
        ([a, a], {}, "more than once"),
        ([a, b], {"reference": "x"}, "reference 'x'"),
        ([a, b], {"strategy": "guess"}, "strategy 'guess'"),
        ([a, b], {"buffer_window": 0}, "buffer window"),
        ([a, b], {"min_cameras": 0}, "min_cameras"),
    ]
    for sources, options, reason in cases:
        with pytest.raises(SyncConfigError, match=reason):
            VideoIngestor(sources, **options)
    assert issubclass(SyncConfigError, ValueError)


def test_wrong_sources_are_refused_when_loaded(cameras, tmp_path) -> None:
    a = VideoSourceConfig(cameras["a30"].path, "a")
    missing = VideoSourceConfig(tmp_path / "nowhere.mp4", "b")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.mp4"):
        VideoIngestor([a, missing]).load_sources()
    with pytest.raises(SourceOpenError, match="not a regular file"):
        VideoIngestor([a, VideoSourceConfig(tmp_path, "b", "file")]).load_sources()
    far = VideoSourceConfig(cameras["b25"].path, "b", offset_seconds=1e6)
    with pytest.raises(SyncConfigError, match="no instant in common"):
        VideoIngestor([a, far]).load_sources()
    for offset in (float("nan"), 1e300):
        absurd = VideoSourceConfig(cameras["b25"].path, "b", offset_seconds=offset)
        with pytest.raises(SyncConfigError, match="offset"):
            VideoIngestor([a, absurd]).load_sources()
    uncalibrated = VideoSourceConfig(cameras["b25"].path, "b", calibration_path=Path("/none.toml"))
    with pytest.raises(SyncConfigError, match="no calibration"):
        VideoIngestor([a, uncalibrated]).load_sources()
    with pytest.raises(SyncConfigError, match="3 times were given for 240 frames"):
        FileVideoSource(cameras["a30"].path, "a", frame_times_ns=[1, 2, 3]).open()


def test_an_ingestor_must_be_loaded_and_a_batch_must_fit(configs) -> None:
    ingestor = VideoIngestor(configs("a30", "b25"))
    with pytest.raises(SourceClosedError, match="load_sources"):
        ingestor.get_frame_at_time(1.0)
    with ingestor, pytest.raises(SyncConfigError, match="GiB"):
        ingestor.get_frame_batch(0, 10_000_000)
    with ingestor, pytest.raises(SyncConfigError, match="ends before"):
        ingestor.get_frame_batch(5, 4)


def test_the_kind_of_source_follows_from_its_place(tmp_path) -> None:
    kinds = {
        "file": tmp_path / "clip.mp4",
        "session": tmp_path,
        "stream": "rtsp://127.0.0.1:1/x",
    }
    made = {kind: VideoSourceConfig(path, "cam").own_source() for kind, path in kinds.items()}
    assert [type(source) for source in made.values()] == [
        FileVideoSource,
        SessionVideoSource,
        LiveVideoSource,
    ]
    with pytest.raises(SyncConfigError, match="unknown source type 'tape'"):
        VideoSourceConfig(tmp_path, "cam", "tape").own_source()
