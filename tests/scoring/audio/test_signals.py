"""What signals keep of their captions: counted where a caption states it, withheld with the reason where none does."""

import numpy as np
import pytest

from musicgen_lite.scoring.audio.signals import signal_scores
from musicgen_lite.scoring.statistics.intervals import Bootstrap
from musicgen_lite.scoring.statistics.scores import Scores
from tests.support.standins import RATE, clicks, sine

SILENCE = np.zeros(6 * RATE, np.float32)


def score(waves: dict[str, np.ndarray], captions: dict[str, str]) -> Scores:
    return signal_scores([(clip, wave, RATE) for clip, wave in waves.items()], captions, Bootstrap(100))


def triad(*semitones: int) -> np.ndarray:
    """A chord above middle C."""
    return np.sum([sine(261.63 * 2 ** (step / 12), 6.0, level=0.2) for step in semitones], axis=0)


def test_tempo_and_pulse_are_counted_where_a_tempo_is_stated() -> None:
    captions = {"a": "at 100 BPM", "b": "at 128 BPM", "c": "at 140 BPM", "d": "no tempo", "e": "at 90 BPM"}
    waves = {"a": clicks(100, 6), "b": clicks(128, 6), "c": clicks(114, 6), "d": clicks(100, 6), "e": SILENCE}
    scores = score(waves, captions)
    table = scores.tables["signals"].set_index("id")
    assert table["tempo_hit"].to_dict() == {"a": True, "b": True, "c": False, "d": False, "e": False}
    assert np.isnan(table.loc["d", ["stated_bpm", "tempo_bpm", "pulse_stated"]].astype(float)).all()
    assert scores.estimates["tempo"].value == 0.5
    assert scores.estimates["silent"].value == 0.2
    assert [scores.estimates[name].n for name in ("pulse", "pulse_stated", "tempo", "tempo_octaves")] == [5, 4, 4, 4]
    assert table.loc["e", "pulse"] == 0
    assert table["pulse_stated"]["a"] == pytest.approx(table["pulse"]["a"], abs=0.05)
    assert table["pulse_stated"]["c"] < 0.2 < table["pulse"]["c"]
    for name in ("pulse", "pulse_stated"):
        estimate = scores.estimates[name]
        assert estimate.value == pytest.approx(table[name].mean())
        assert estimate.low < estimate.value < estimate.high
    assert scores.notes["key"] == "withheld: no caption states a key"
    assert "key" not in scores.estimates


def test_keys_are_counted_where_stated_and_beside_those_of_other_captions() -> None:
    captions = {"a": "in C major", "b": "in A minor", "c": "in E flat minor", "d": "sad", "e": "in C minor"}
    waves = {"a": triad(0, 4, 7), "b": triad(0, 4, 7), "c": triad(3, 6, 10), "d": triad(0, 4, 7), "e": SILENCE}
    scores = score(waves, captions)
    table = scores.tables["signals"].set_index("id")
    assert table["key"].dropna().to_dict() == {"a": "C major", "b": "C major", "c": "E flat minor"}
    assert scores.estimates["key"].value == 0.5
    assert scores.estimates["key_relative"].value == 0.75
    # Of the twelve pairs of a clip and another's caption, b's clip alone has the key that a's caption states.
    assert scores.estimates["key_shuffled"].value == pytest.approx(1 / 12)
    assert {scores.estimates[name].n for name in ("key", "key_relative", "key_shuffled")} == {4}
    assert scores.notes["tempo"] == scores.notes["pulse_stated"] == "withheld: no caption states a tempo"
    assert scores.notes["signals"]["stating_a_key"] == 4


def test_a_single_stated_tempo_or_key_has_a_share_and_nothing_that_needs_two() -> None:
    scores = score({"a": clicks(120, 6), "b": SILENCE}, {"a": "at 120 BPM, in C minor", "b": "quiet"})
    assert scores.estimates["tempo"].value == 1
    assert "key" in scores.estimates
    assert not {"pulse_stated", "key_shuffled"} & set(scores.estimates)
    assert scores.notes["pulse_stated"] == "withheld: a single caption states a tempo"
