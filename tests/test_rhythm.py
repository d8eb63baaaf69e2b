"""Pulse, tempo and beats of sounds whose beat is known, and tempos as captions state them."""

import numpy as np
import pytest

from musicgen_lite import rhythm
from musicgen_lite.io.beats import NO_BEAT, Beat
from musicgen_lite.rhythm import Onsets
from musicgen_lite.sources.synthetic import clip
from tests.support.standins import RATE, clicks, sine

SECONDS = 10.0


def of(samples: np.ndarray) -> Onsets:
    return Onsets.of(samples, RATE)


def noise(seed: int, level: float = 0.1) -> np.ndarray:
    return (level * np.random.default_rng(seed).standard_normal(round(SECONDS * RATE))).astype(np.float32)


def tremolo(hz: float) -> np.ndarray:
    """A held tone whose loudness goes up and down `hz` times a second."""
    time = np.arange(round(SECONDS * RATE)) / RATE
    return (sine(440, SECONDS) * (0.5 + 0.5 * np.sin(2 * np.pi * hz * time)) + noise(0, 1e-4)).astype(np.float32)


def test_the_autocorrelation_is_its_definition() -> None:
    values = np.random.default_rng(0).normal(size=50)
    centred = values - values.mean()
    expected = [np.sum(centred[: 50 - lag] * centred[lag:]) / np.sum(centred**2) for lag in range(50)]
    assert rhythm.autocorrelation(values) == pytest.approx(expected)
    assert rhythm.autocorrelation(np.full(5, 3.0)).tolist() == [0.0] * 5


@pytest.mark.slow
@pytest.mark.parametrize("bpm", [60.0, 75.0, 100.0, 120.0, 150.0])
def test_clicks_have_a_pulse_at_their_beat_and_none_off_it(bpm: float) -> None:
    onsets = of(clicks(bpm, SECONDS))
    # Of a clip only the share 1 - lag / length overlaps itself. These beats are whole frames apart.
    assert onsets.pulse_at(bpm) == pytest.approx(1 - 60 / bpm / SECONDS, abs=0.03)
    assert onsets.pulse() == pytest.approx(onsets.pulse_at(bpm))
    assert onsets.pulse_at(bpm * 1.1) < 0.2
    assert onsets.pulse_at(bpm * 0.9) < 0.2


@pytest.mark.parametrize("bpm", [60.0, 75.0, 90.0, 100.0, 120.0])
def test_the_tempo_of_clicks_is_found(bpm: float) -> None:
    assert of(clicks(bpm, SECONDS)).tempo() == pytest.approx(bpm, rel=0.01)


@pytest.mark.parametrize("bpm", [160.0, 190.0])
def test_of_fast_clicks_alone_every_second_is_taken_for_a_beat(bpm: float) -> None:
    assert of(clicks(bpm, SECONDS)).tempo() == pytest.approx(bpm / 2, rel=0.01)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_white_noise_has_no_pulse(seed: int) -> None:
    onsets = of(noise(seed))
    assert onsets.pulse() < 0.2
    assert abs(onsets.pulse_at(120)) < 0.1


def test_a_tremolo_is_a_pulse_and_the_tone_held_is_none() -> None:
    onsets = of(tremolo(2.0))
    assert onsets.pulse() > 0.7
    assert onsets.pulse_at(120) == pytest.approx(onsets.pulse(), abs=0.05)
    assert onsets.pulse_at(80) < 0.2
    assert rhythm.tempo_matches(onsets.tempo(), 120, octaves=True)
    assert of(sine(440, SECONDS) + noise(0, 1e-4)).pulse() < 0.1


def test_two_tempi_at_once_have_less_of_a_pulse_than_each_alone() -> None:
    one, other = (of(clicks(bpm, SECONDS)) for bpm in (75.0, 120.0))
    both = of(clicks(75.0, SECONDS) + clicks(120.0, SECONDS, seed=1))
    assert 0.2 < both.pulse() < min(one.pulse(), other.pulse()) - 0.2
    assert 0.1 < both.pulse_at(75) < one.pulse_at(75) - 0.2
    assert 0.1 < both.pulse_at(120) < other.pulse_at(120) - 0.2


def test_a_tempo_that_changes_halfway_has_less_of_a_pulse_than_a_steady_one() -> None:
    half = SECONDS / 2
    changed = of(np.concatenate([clicks(100.0, half), clicks(140.0, half)]))
    assert 0.2 < changed.pulse() < of(clicks(100.0, SECONDS)).pulse() - 0.2


def test_uneven_clicks_have_less_of_a_pulse_the_more_they_stray() -> None:
    found = [of(clicks(120.0, SECONDS, stray_s=stray)).pulse() for stray in (0.0, 0.02, 0.1)]
    assert found == sorted(found, reverse=True)
    assert found[0] > 0.8
    assert found[2] < 0.4


@pytest.mark.parametrize("samples", [np.zeros(5 * RATE, np.float32), sine(440, 0.05)], ids=["silence", "50 ms"])
def test_silence_and_what_is_shorter_than_a_beat_have_no_pulse(samples: np.ndarray) -> None:
    onsets = of(samples)
    assert onsets.pulse() == 0
    assert onsets.pulse_at(120) == 0
    assert np.isfinite(onsets.tempo())


def test_silence_has_no_tempo() -> None:
    assert of(np.zeros(5 * RATE, np.float32)).tempo() == 0


@pytest.mark.parametrize(("bpm", "offset"), [(75.0, 0.0), (90.0, 0.3), (100.0, 0.47), (120.0, 0.123), (120.0, 0.44)])
def test_the_first_beat_of_clicks_is_found(bpm: float, offset: float) -> None:
    silence = np.zeros(round(offset * RATE), np.float32)
    found = of(np.concatenate([silence, clicks(bpm, SECONDS)])).beat()
    assert found.bpm == pytest.approx(bpm, rel=0.01)
    assert off_the_beat(found, Beat(bpm, 0.05 + offset)) < 0.02  # clicks begin at 0.05 s
    given = of(np.concatenate([silence, clicks(bpm, SECONDS)])).beat(bpm)
    assert given.bpm == bpm
    assert off_the_beat(given, Beat(bpm, 0.05 + offset)) < 0.02


def off_the_beat(found: Beat, truth: Beat) -> float:
    """Seconds between a found first beat and the nearest beat of the true grid."""
    beat = 60 / truth.bpm
    return abs((found.beat_s - truth.beat_s + beat / 2) % beat - beat / 2)


@pytest.mark.parametrize("seconds", [3.0, 4.1])
def test_a_beat_goes_on_after_a_clip(seconds: float) -> None:
    samples, rest = np.split(clicks(100.0, SECONDS), [round(seconds * RATE)])
    going_on = rhythm.goes_on(samples, RATE)
    assert going_on.bpm == pytest.approx(100, rel=0.01)
    assert off_the_beat(going_on, of(rest).beat()) < 0.03
    assert off_the_beat(going_on, Beat(100.0, 0.05 - seconds)) < 0.03


def test_a_later_start_moves_the_beat_within_two_bars() -> None:
    assert Beat(120.0, 0.0).later(3.0) == Beat(120.0, 1.0)
    assert Beat(120.0, 0.5).later(0.25) == Beat(120.0, 0.25)
    assert Beat(120.0, 1.0).later(-3.5) == Beat(120.0, 0.5)
    assert not NO_BEAT.later(1.0).known


@pytest.mark.parametrize("samples", [noise(0), np.zeros(5 * RATE, np.float32), sine(440, SECONDS) + noise(0, 1e-4)])
def test_noise_silence_and_a_held_tone_have_no_clear_beat(samples: np.ndarray) -> None:
    assert not of(samples).clear_beat().known
    assert of(clicks(120.0, SECONDS)).clear_beat().known


def test_where_the_tempo_is_given_only_silence_has_no_beat() -> None:
    assert of(noise(0)).clear_beat(100.0).known
    assert not of(np.zeros(5 * RATE, np.float32)).clear_beat(100.0).known


@pytest.mark.slow
def test_the_beats_of_composed_clips_are_found() -> None:
    right = []
    for seed in range(9_000_000, 9_000_040):
        one = clip(seed, "test")
        truth = Beat(one.extra["tempo"], one.extra["beat_s"]).later(3.0)
        found = of(one.samples[3 * RATE :]).beat()
        if rhythm.tempo_matches(found.bpm, truth.bpm):
            right.append(off_the_beat(found, truth) < 0.1 * 60 / truth.bpm)
    assert len(right) >= 28
    assert np.mean(right) >= 0.9


@pytest.mark.slow
def test_the_tempo_of_composed_clips_is_found_more_often_than_by_librosa() -> None:
    from librosa.feature import tempo as by_librosa

    hits = {"own": 0, "octaves": 0, "librosa": 0}
    for seed in range(9_000_000, 9_000_040):
        one = clip(seed, "test")
        onsets, stated = of(one.samples[-5 * RATE :]), one.extra["tempo"]
        hits["own"] += rhythm.tempo_matches(onsets.tempo(), stated)
        hits["octaves"] += rhythm.tempo_matches(onsets.tempo(), stated, octaves=True)
        found = by_librosa(onset_envelope=onsets.strength, sr=RATE, hop_length=RATE // 100)[0]
        hits["librosa"] += rhythm.tempo_matches(float(found), stated)
    assert hits["own"] > hits["librosa"]
    assert hits["octaves"] >= 36


@pytest.mark.parametrize(
    ("caption", "bpm"),
    [
        ("It runs at 158 BPM.", 158.0),
        ("A 92.5 bpm groove", 92.5),
        ("a 120-BPM beat", 120.0),
        ("around 90 beats per minute", 90.0),
        ("an 808 drum machine, fast", None),
        ("in 1985", None),
        ("1128 BPM", None),
        ("1,128 BPM", None),
        ("000 BPM", None),
        ("BPM: 120", 120.0),
        ("In C minor, BPM 120.", 120.0),
        ("120 BPMs", 120.0),
        ("95,5 BPM", 95.5),
        ("120 beats-per-minute", 120.0),
        ("fast,120bpm", 120.0),
        ("an 808 and 120 BPM", 120.0),
        ("recorded 1985 - 120 BPM", 120.0),
        ("120 BPM in 4/4, yes, 120 bpm", 120.0),
        ("90-100 bpm", None),
        ("90 – 100 bpm", None),
        ("between 90 and 100 BPM", None),
        ("from 60 bpm to 180 bpm", None),
        ("120 BPM, then 140 BPM", None),
        ("high BPM 90s style", None),
    ],
)
def test_a_stated_tempo_is_read_from_the_caption(caption: str, bpm: float | None) -> None:
    assert rhythm.stated_tempo(caption) == bpm


def test_tempo_matches_within_five_percent_and_by_octaves_if_asked() -> None:
    assert rhythm.tempo_matches(125.9, 120)
    assert not rhythm.tempo_matches(127, 120)
    assert not rhythm.tempo_matches(60, 120)
    assert rhythm.tempo_matches(60, 120, octaves=True)
    assert rhythm.tempo_matches(244, 120, octaves=True)
    assert not rhythm.tempo_matches(90, 120, octaves=True)
