"""Likeness to the audio prompt, by CLAP and by chroma: matching against shuffled."""

import numpy as np
import pytest

from musicgen_lite.errors import UserError
from musicgen_lite.scoring.audio import chroma
from musicgen_lite.scoring.audio.contrast import contrast, likeness_to_prompts, unit
from musicgen_lite.scoring.statistics.intervals import Bootstrap
from tests.support.standins import RATE, embeddings, ring, sine

C4 = 261.6256
SEMITONE = 2 ** (1 / 12)


def chord(*semitones: int, seconds: float = 3.0) -> np.ndarray:
    """Sines above middle C."""
    return np.sum([sine(C4 * SEMITONE**step, seconds, level=0.2) for step in semitones], axis=0)


def test_matching_and_shuffled_are_read_from_one_matrix() -> None:
    similarity = np.arange(16.0).reshape(4, 4)
    scores = contrast(similarity, dict(zip("abcd", "wxyz", strict=True)), "track", "s", Bootstrap(100))
    table = scores.tables["s"].set_index("id")
    assert table["own"].tolist() == [0, 5, 10, 15]
    assert table["shuffled"].tolist() == [similarity[row, i] for i, row in enumerate(ring(4, 0))]
    values = {name: estimate.value for name, estimate in scores.estimates.items()}
    assert values["s_gain"] == pytest.approx(values["s"] - values["s_shuffled"])


def test_a_shuffled_prompt_is_one_of_another_track() -> None:
    """Twelve clips of a long track and three of others: clips of one track are as like to its prompts as to their own."""
    track = np.repeat([0, 1, 2, 3], [12, 1, 1, 1])
    rows = np.eye(4, dtype=np.float32)[track]
    clips = embeddings(rows, name="clap")
    tracks = dict(zip(clips.ids, map(str, track), strict=True))
    scores = likeness_to_prompts(clips, embeddings(rows, name="clap"), tracks, "s", Bootstrap(100))
    assert scores.estimates["s_shuffled"].value == 0
    assert scores.estimates["s_gain"].value == 1
    alone = likeness_to_prompts(clips, embeddings(rows, name="clap"), dict.fromkeys(tracks, "t"), "s", Bootstrap(100))
    assert set(alone.estimates) == {"s"}
    assert alone.notes["s_gain"] == "withheld: all 15 clips share one track, so that it cannot be shuffled"


def test_likeness_to_the_matching_audio_prompt_exceeds_that_to_a_shuffled_one() -> None:
    rows = np.eye(5, dtype=np.float32)
    generated = embeddings(rows + 0.1, name="clap")
    tracks = {clip: clip for clip in generated.ids}
    scores = likeness_to_prompts(generated, embeddings(2 * rows, name="clap"), tracks, "similarity", Bootstrap(200))
    assert scores.estimates["similarity"].value == pytest.approx(1.1 / np.sqrt(1.1**2 + 4 * 0.1**2))
    assert scores.estimates["similarity_shuffled"].value == pytest.approx(0.1 / np.sqrt(1.1**2 + 4 * 0.1**2))
    assert scores.estimates["similarity_gain"].low > 0
    with pytest.raises(ValueError, match="not one space"):
        likeness_to_prompts(generated, embeddings(rows, fingerprint="g"), tracks, "s", Bootstrap(50))
    with pytest.raises(UserError, match="audio prompts: no entry for 1"):
        likeness_to_prompts(generated, embeddings(rows[:4]), tracks, "s", Bootstrap(50))


def test_rows_get_length_one_and_zeros_stay() -> None:
    assert unit(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist() == [[0.6, 0.8], [0.0, 0.0]]


@pytest.mark.slow
@pytest.mark.parametrize("octave", [0.5, 1.0, 4.0])
def test_chroma_finds_the_pitch_class_in_any_octave(octave: float) -> None:
    for step in range(12):
        assert chroma.profile(sine(octave * C4 * SEMITONE**step, 2.0), RATE).argmax() == step


def test_chroma_knows_chords_and_not_their_level_or_silence() -> None:
    major, up = chroma.profile(chord(0, 4, 7), RATE), chroma.profile(chord(1, 5, 8), RATE)
    assert sorted(np.argsort(major)[-3:]) == [0, 4, 7]
    assert np.roll(major, 1) == pytest.approx(up, abs=0.1)
    assert chroma.profile(0.1 * chord(0, 4, 7), RATE) == pytest.approx(major, abs=1e-3)
    assert chroma.profile(np.zeros(RATE, np.float32), RATE).tolist() == [0.0] * 12


def test_a_clip_in_the_key_of_its_prompt_is_nearer_to_it_than_to_a_shuffled_one() -> None:
    steps = {f"c{i}": i for i in range(6)}
    prompts = {clip: chord(step, step + 4, step + 7) for clip, step in steps.items()}
    clips = {clip: chord(step, step + 7, step + 16, seconds=5.0) for clip, step in steps.items()}
    clips["c5"] = np.zeros(RATE, np.float32)
    scores = chroma.chroma_likeness(
        lambda clip: (clips[clip], RATE),
        lambda clip: (prompts[clip], RATE),
        dict(zip(list(steps)[::-1], steps, strict=True)),
        "chroma",
        Bootstrap(100),
    )
    table = scores.tables["chroma"].set_index("id")
    assert (table["own"].to_numpy()[:5] > 0.95).all()
    assert table.loc["c5", "own"] == 0
    assert scores.estimates["chroma_gain"].value > 0.3
