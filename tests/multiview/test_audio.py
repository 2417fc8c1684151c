"""Sound: offset and drift to a fraction of a millisecond, and refusals."""

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import chirp

from multiview.audio import (
    RATE_HZ,
    AudioReader,
    AudioSyncError,
    HeardEvent,
    Microphone,
    NoAudioError,
    Sound,
    UnrelatedAudioError,
    align,
    combine,
    read_sound,
    synchronize_audio,
    true_offset_ns,
)
from multiview.audio._correlation import local_peak
from multiview.timeline import Evidence, Timeline, TimelineSet, as_covariance

MINUTE_S = 60.0


@pytest.fixture(scope="module")
def event() -> HeardEvent:
    return HeardEvent(MINUTE_S, RATE_HZ, seed=3)


def errors_ms(found, one: Microphone, two: Microphone) -> np.ndarray:
    times = np.linspace(0, MINUTE_S * 1e9, 31)
    lag = found.offset_ns + found.drift * (times - found.origin_ns)
    return (lag - [true_offset_ns(one, two, own) for own in times]) / 1e6


@pytest.mark.parametrize(
    "start_s, ppm, snr_db, echo",
    [(3.7, 50, 10, 0.0), (-21.3, -120, 10, 0.0), (0.2, 50, 0, 0.0), (8.0, 20, 10, 0.7)],
)
def test_offset_and_drift_within_the_aims(event, start_s, ppm, snr_db, echo):
    one = Microphone(seed=1, snr_db=snr_db)
    two = Microphone(start_s, ppm, snr_db, echo, seed=2)
    found = align(event.recorded(one), event.recorded(two))
    assert np.sqrt(np.mean(errors_ms(found, one, two) ** 2)) < 1.0
    assert found.drift * 1e6 == pytest.approx(ppm, abs=5)
    assert found.log10_nfa < -6


def test_alignment_is_the_same_seen_from_either_side(event):
    one, two = event.recorded(Microphone(seed=1)), event.recorded(Microphone(5.0, 80, seed=2))
    there, back = align(one, two), align(two, one)
    on_two = there.origin_ns + there.offset_ns
    back_again = back.offset_ns + back.drift * (on_two - back.origin_ns)
    assert back_again == pytest.approx(-there.offset_ns, abs=50_000)


def test_a_short_recording_is_found_in_a_long_one(event):
    long = event.recorded(Microphone(seed=1))
    part = Sound(event.recorded(Microphone(seed=2)).samples[20 * RATE_HZ : 40 * RATE_HZ], RATE_HZ)
    assert align(long, part).offset_ns == pytest.approx(-20e9, abs=1e6)
    assert align(part, long).offset_ns == pytest.approx(20e9, abs=1e6)


def test_unrelated_sound_is_refused(event):
    other = HeardEvent(MINUTE_S, RATE_HZ, seed=4).recorded(Microphone(seed=2))
    with pytest.raises(UnrelatedAudioError, match="share no sound"):
        align(event.recorded(Microphone(seed=1)), other)


def test_noise_and_a_common_hum_are_not_mistaken_for_common_sound():
    rng = np.random.default_rng(0)
    hum = np.sin(2 * np.pi * 100 * np.arange(60 * RATE_HZ) / RATE_HZ)
    one, two = (
        Sound((0.1 * hum + 0.02 * rng.normal(size=len(hum))).astype(np.float32), RATE_HZ)
        for _ in range(2)
    )
    with pytest.raises(AudioSyncError):
        align(one, two)


def test_silence_and_snippets_are_refused(event):
    heard = event.recorded(Microphone())
    with pytest.raises(NoAudioError, match="silent"):
        align(heard, Sound(np.zeros(60 * RATE_HZ, np.float32), RATE_HZ))
    with pytest.raises(NoAudioError, match="too short"):
        align(heard, Sound(heard.samples[:RATE_HZ], RATE_HZ))


def test_a_loop_that_fits_everywhere_is_refused(event):
    beat = event.recorded(Microphone(snr_db=60)).samples[: 2 * RATE_HZ]
    loop = Sound(np.tile(beat, 30), RATE_HZ)
    with pytest.raises(UnrelatedAudioError):
        align(loop, Sound(np.roll(loop.samples, 777), RATE_HZ))


@settings(max_examples=25, deadline=None)
@given(shift=st.floats(-30, 30))
def test_the_peak_is_found_to_a_twentieth_of_a_sample(shift):
    rng = np.random.default_rng(1)
    spectrum = np.fft.rfft(rng.normal(size=16_384))
    frequencies = np.fft.rfftfreq(16_384)
    spectrum[(frequencies < 0.02) | (frequencies > 0.4)] = 0
    moved = np.fft.irfft(spectrum * np.exp(-2j * np.pi * frequencies * shift))
    still = np.fft.irfft(spectrum)
    moved, still = (sound + rng.normal(0, 0.1, 16_384) for sound in (moved, still))
    peak = local_peak(still.astype(np.float32), moved.astype(np.float32), 64, RATE_HZ)
    assert peak.lag == pytest.approx(shift, abs=0.05)
    assert peak.height > 15


def test_recordings_become_timelines(event):
    microphones = {"a": Microphone(seed=1), "b": Microphone(4.0, 60, seed=2)}
    sounds = {name: event.recorded(mic) for name, mic in microphones.items()}
    lines = synchronize_audio(sounds, "a", placement_sigma_ms=0.5)
    own = np.array([0, 30_000_000_000])
    truth = 4e9 + own / (1 + 60e-6)
    assert np.abs(lines["b"].at_many(own) - truth).max() < 0.2e6
    assert lines["b"].sigma_ns(30_000_000_000) == pytest.approx(0.5e6, rel=0.05)
    assert lines["b"].evidence is Evidence.AUDIO
    assert TimelineSet.from_json(lines.to_json()) == lines
    with pytest.raises(AudioSyncError, match="two recordings"):
        synchronize_audio({"a": sounds["a"]})


def flash_line(offset_ns: int, drift: float) -> TimelineSet:
    covariance = as_covariance(np.diag([5e4**2, 2e-6**2, 60.0**2]))
    line = Timeline(0, offset_ns, drift, 50_000.0, covariance, Evidence.FLASH)
    return TimelineSet({"a": Timeline(evidence=Evidence.FLASH), "b": line}, "a")


def audio_line(offset_ns: int, drift: float) -> TimelineSet:
    covariance = as_covariance(np.diag([3e6**2, 1e-8**2, 30_000.0**2]))
    line = Timeline(0, offset_ns, drift, 0.0, covariance, Evidence.AUDIO)
    return TimelineSet({"a": Timeline(evidence=Evidence.AUDIO), "b": line}, "a")


def test_flashes_keep_the_offset_and_sound_sharpens_the_drift():
    both = combine(flash_line(1_000_000_000, 52e-6), audio_line(1_002_000_000, 50e-6))["b"]
    assert both.at(0) == pytest.approx(1_000_000_000, abs=5_000)
    assert both.drift == pytest.approx(50e-6, abs=1e-8)
    assert both.line_time_ns == pytest.approx(50_000, abs=1)
    assert both.evidence is Evidence.COMBINED


def test_contradicting_flashes_and_sound_are_refused():
    with pytest.raises(AudioSyncError, match="disagree"):
        combine(flash_line(1_000_000_000, 0.0), audio_line(1_300_000_000, 0.0))
    with pytest.raises(AudioSyncError, match="bases differ"):
        other = audio_line(0, 0.0)
        combine(flash_line(0, 0.0), TimelineSet(other.timelines, "b"))


def write_sound(path, samples: np.ndarray, rate: int, pts: list[int] | None = None) -> None:
    """PCM in Matroska, in blocks of a second at the given times (s)."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=rate)
        stream.layout = "mono"
        blocks = samples.reshape(-1, rate)
        for block, start in zip(blocks, pts or range(len(blocks)), strict=True):
            loud = (block * 32767).astype(np.int16)[None, :]
            frame = av.AudioFrame.from_ndarray(loud, "s16", "mono")
            frame.sample_rate, frame.pts = rate, start * rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def test_sound_is_read_by_its_time_stamps_with_gaps_silent(tmp_path):
    rate = 8000
    tone = 0.5 * chirp(np.arange(4 * rate) / rate, 200, 4, 1000)
    write_sound(tmp_path / "gap.mkv", tone, rate, [1, 2, 5, 6])
    sound = read_sound(tmp_path / "gap.mkv", rate)
    assert sound.start_ns == 1_000_000_000
    assert len(sound.samples) == pytest.approx(6 * rate, abs=80)
    assert np.abs(sound.samples[int(2.1 * rate) : int(3.9 * rate)]).max() == 0
    assert sound.samples[int(4.5 * rate)] == pytest.approx(tone[int(2.5 * rate)], abs=0.01)


def test_a_reader_goes_forward_and_is_silent_outside(tmp_path):
    rate = 8000
    tone = 0.5 * np.sin(np.arange(3 * rate) / 10)
    write_sound(tmp_path / "tone.mkv", tone, rate)
    with AudioReader(tmp_path / "tone.mkv") as reader:
        begin = reader.samples(-100, 300)
        assert not begin[:, :100].any()
        assert begin[0, 150] == pytest.approx(tone[50], abs=1e-3)
        end = reader.samples(3 * rate - 50, 200)
        assert end[0, 20] == pytest.approx(tone[3 * rate - 30], abs=1e-3)
        assert not end[:, 60:].any()


def test_files_without_sound_are_refused(tmp_path):
    (tmp_path / "text.mkv").write_text("no sound")
    with pytest.raises(NoAudioError, match=r"text\.mkv"):
        read_sound(tmp_path / "text.mkv", 8000)
