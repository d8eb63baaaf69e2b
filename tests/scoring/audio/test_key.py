"""The key of scales and chords that were synthesised in it, and keys as captions state them."""

from collections.abc import Sequence

import numpy as np
import pytest

from musicgen_lite.scoring.audio.key import KEYS, Key, estimate_key, key_matches, stated_key
from tests.support.standins import RATE

SCALES = {"major": (0, 2, 4, 5, 7, 9, 11, 12), "minor": (0, 2, 3, 5, 7, 8, 10, 12)}
THIRD = {"major": 4, "minor": 3}


def tone(pitch: float, seconds: float) -> np.ndarray:
    """A decaying tone with six partials at a MIDI pitch."""
    time = np.arange(round(seconds * RATE)) / RATE
    hz = 440 * 2 ** ((pitch - 69) / 12)
    partials = sum(np.sin(2 * np.pi * hz * k * time) / k for k in range(1, 7))
    return (0.1 * partials * np.exp(-2 * time / seconds)).astype(np.float32)


def chord(pitches: Sequence[int], seconds: float = 1.0) -> np.ndarray:
    return np.sum([tone(pitch, seconds) for pitch in pitches], axis=0)


def scale(key: Key) -> np.ndarray:
    """Up the scale and down again, over the tonic held as a bass."""
    steps = SCALES[key.mode]
    melody = np.concatenate([tone(60 + key.tonic + step, 0.4) for step in (*steps, *steps[::-1])])
    return melody + tone(36 + key.tonic, len(melody) / RATE)


def cadence(key: Key) -> np.ndarray:
    """Tonic, subdominant, dominant (with a leading tone) and tonic."""
    root, third = 48 + key.tonic, THIRD[key.mode]
    first, fourth = [root, root + third, root + 7], [root + 5, root + 5 + third, root + 12]
    return np.concatenate([chord(one) for one in (first, fourth, [root + 7, root + 11, root + 14], first)])


@pytest.mark.slow
@pytest.mark.parametrize("key", KEYS, ids=str)
def test_the_key_of_a_scale_and_of_a_cadence_is_found(key: Key) -> None:
    assert estimate_key(scale(key), RATE) == key
    assert estimate_key(cadence(key), RATE) == key


@pytest.mark.parametrize("key", [Key(0, "major"), Key(9, "minor"), Key(6, "minor")], ids=str)
def test_the_key_of_its_tonic_chord_is_found_at_other_rates_and_levels(key: Key) -> None:
    wave = chord([48 + key.tonic, 55 + key.tonic, 60 + key.tonic + THIRD[key.mode]], 3.0)
    assert estimate_key(wave, RATE) == key
    assert estimate_key(0.05 * wave, RATE) == key
    assert estimate_key(np.repeat(wave, 2), 2 * RATE) == key


def test_silence_has_no_key_and_keeps_none() -> None:
    assert estimate_key(np.zeros(RATE, np.float32), RATE) is None
    assert not key_matches(None, Key(0, "major"), relative=True)


def test_a_relative_key_has_the_same_tones_and_counts_only_where_asked() -> None:
    c_major, a_minor, c_minor = Key(0, "major"), Key(9, "minor"), Key(0, "minor")
    for key in KEYS:
        assert key.relative.relative == key
        tones = [{(one.tonic + step) % 12 for step in SCALES[one.mode]} for one in (key, key.relative)]
        assert tones[0] == tones[1]
    assert key_matches(c_major, c_major)
    assert not key_matches(a_minor, c_major)
    assert key_matches(a_minor, c_major, relative=True)
    assert not key_matches(c_minor, c_major, relative=True)
    assert not key_matches(Key(7, "major"), c_major, relative=True)


@pytest.mark.parametrize(
    ("caption", "name"),
    [
        ("It is in F sharp minor.", "F sharp minor"),
        ("The key is B flat major.", "B flat major"),
        ("the key is A dorian", "A minor"),
        ("It is in G mixolydian.", "G major"),
        ("In C minor, BPM 120.", "C minor"),
        ("a waltz in Db major", "C sharp major"),
        ("a waltz in C# minor", "C sharp minor"),
        ("E♭ Minor", "E flat minor"),
        ("G-flat-major prelude", "F sharp major"),
        ("piano in e minor", "E minor"),
        ("Cb major", "B major"),
        ("B Minor", "B minor"),
        ("Dmin", "D minor"),
        ("In A minor it drifts.", "A minor"),
        ("A minor, 120 BPM", "A minor"),
        ("A flat major hymn", "A flat major"),
        ("A minor. It is slow, and in A minor throughout.", "A minor"),
        ("In C minor, then C minor again", "C minor"),
        ("Someone is playing a minor chord composition", None),
        ("it was a major hit", None),
        ("A minor key melody that is sad", None),
        ("Sad. A minor progression repeats.", None),
        ("a D minor chord rings", None),
        ("an E major seventh", None),
        ("In C major, then A minor", None),
        ("in a minor key", None),
        ("in a major and minor chord progression", None),
        ("5 min of A", None),
        ("the B minority", None),
        ("no key", None),
    ],
)
def test_a_stated_key_is_read_from_the_caption(caption: str, name: str | None) -> None:
    found = stated_key(caption)
    assert (found and str(found)) == name
