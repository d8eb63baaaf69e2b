"""Captions of the synthetic corpus: true, grammatical, varied."""

import functools
import re

import pytest

from musicgen_lite.sources.synthetic import compose, describe, paraphrase, words
from musicgen_lite.sources.synthetic.captions import article, listing
from musicgen_lite.sources.synthetic.compose import Piece
from musicgen_lite.sources.synthetic.styles import ENERGY, STYLES

COUNT = 800
NAMES = words.INSTRUMENTS | words.KITS
TEMPO_CLASSES = ("slow", "medium", "fast")
PLAIN_TEMPO = re.compile(r"\b(slow\w*|medium\w*|mid-tempo|fast\w*|uptempo|bpm)\b|\d", re.IGNORECASE)


@pytest.fixture(scope="module")
def pieces() -> list[Piece]:
    return [compose(seed) for seed in range(COUNT)]


@pytest.fixture(scope="module")
def captions(pieces: list[Piece]) -> list[str]:
    return [describe(piece, seed)[0] for seed, piece in enumerate(pieces)]


@pytest.fixture(scope="module")
def paraphrases(pieces: list[Piece]) -> list[str]:
    return [paraphrase(piece, seed) for seed, piece in enumerate(pieces)]


@functools.cache
def _pattern(phrases: tuple[str, ...]) -> re.Pattern[str]:
    longest_first = sorted(phrases, key=len, reverse=True)
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, longest_first))})\b", re.IGNORECASE)


def _says(text: str, *phrases: str) -> bool:
    return _pattern(phrases).search(text) is not None


def test_vocabulary_covers_the_world() -> None:
    assert set(words.GENRES) == set(words.ROUND_GENRES) == set(STYLES)
    assert set(words.MOODS) == set(ENERGY)
    for style in STYLES.values():
        assert {*style.leads, *style.chords, *style.basses} <= set(words.INSTRUMENTS)
        assert not style.kit or style.kit in words.KITS
    for table in (words.TEMPO_WORDS, words.ROUND_TEMPO_WORDS, words.TEMPO_CLAUSES, words.ROUND_TEMPO_CLAUSES):
        assert tuple(table) == TEMPO_CLASSES


def test_no_phrase_means_two_things() -> None:
    for tables in ((words.GENRES, words.ROUND_GENRES), (words.TEMPO_WORDS, words.ROUND_TEMPO_WORDS), (words.MOODS,)):
        phrases = [phrase for table in tables for options in table.values() for phrase in options]
        assert len(phrases) == len(set(phrases))


def test_captions_differ(captions: list[str], paraphrases: list[str]) -> None:
    assert len(set(captions)) >= 0.99 * COUNT
    assert len(set(paraphrases)) >= 0.99 * COUNT


def test_the_same_seed_gives_the_same_words(pieces: list[Piece], captions: list[str]) -> None:
    assert describe(pieces[3], 3)[0] == captions[3]
    assert describe(pieces[3], 4)[0] != captions[3]


def test_only_instruments_of_the_piece_are_named(
    pieces: list[Piece], captions: list[str], paraphrases: list[str]
) -> None:
    for texts in (captions, paraphrases):
        for piece, text in zip(pieces, texts, strict=True):
            own = [phrase for name in piece.instruments for phrase in NAMES[name]]
            own += [*words.GENRES[piece.genre], *words.ROUND_GENRES[piece.genre]]
            rest = _pattern(tuple(own)).sub("", text)
            for name in set(NAMES) - set(piece.instruments):
                assert not _says(rest, *NAMES[name]), (name, text)


def test_some_instrument_is_always_named(pieces: list[Piece], captions: list[str]) -> None:
    for piece, text in zip(pieces, captions, strict=True):
        assert any(_says(text, *NAMES[name]) for name in piece.instruments), text


def test_genre_is_true(pieces: list[Piece], captions: list[str], paraphrases: list[str]) -> None:
    for texts in (captions, paraphrases):
        for piece, text in zip(pieces, texts, strict=True):
            for genre in set(STYLES) - {piece.genre}:
                assert not _says(text, genre, *words.GENRES[genre], *words.ROUND_GENRES[genre]), (genre, text)
    named = sum(
        _says(text, *words.GENRES[piece.genre], *words.ROUND_GENRES[piece.genre])
        for piece, text in zip(pieces, captions, strict=True)
    )
    assert named > 0.9 * COUNT


def test_tempo_is_true(pieces: list[Piece], captions: list[str], paraphrases: list[str]) -> None:
    stated = 0
    for piece, text in zip(pieces, captions, strict=True):
        numbers = re.findall(r"\d+", text)
        assert numbers in ([], [str(round(piece.tempo))]), text
        stated += bool(numbers)
    assert 0.45 < stated / COUNT < 0.55
    tables = (words.TEMPO_WORDS, words.ROUND_TEMPO_WORDS, words.TEMPO_CLAUSES, words.ROUND_TEMPO_CLAUSES)
    for texts in (captions, paraphrases):
        for piece, text in zip(pieces, texts, strict=True):
            for other in set(TEMPO_CLASSES) - {piece.tempo_class}:
                assert not _says(text, *(phrase for table in tables for phrase in table[other])), text


def test_mood_rain_key_and_drums_are_true(pieces: list[Piece], captions: list[str]) -> None:
    for piece, text in zip(pieces, captions, strict=True):
        # Some adjectives also stand inside names of genres and instruments: those of a mood stand before them.
        other = [word for mood in ENERGY if mood != piece.mood for word in words.MOODS[mood]]
        assert not re.search(rf"\b(mood is|atmosphere is|feels) ({'|'.join(other)})\b", text), text
        assert bool(re.search(r"\brain", text, re.IGNORECASE)) == piece.rain, text
        key = re.search(r"in ([A-G][a-z ]*?) (major|minor|dorian|mixolydian)", text)
        assert key is None or key.groups() == (piece.key, piece.mode), text
        if re.search(r"\bno (drums|percussion)|without drums", text, re.IGNORECASE):
            assert not piece.drums, text


def test_grammar(captions: list[str], paraphrases: list[str]) -> None:
    for text in captions + paraphrases:
        assert not re.search(r"\b(\w+)[ -]\1\b", text, re.IGNORECASE), text
        for wrong in re.finditer(r"\ba ([aeiou]\w*)", text, re.IGNORECASE):
            assert wrong.group(1).lower().startswith(("euph", "one")), text
        assert not re.search(r"\ban [^aeiouM]", text, re.IGNORECASE), text
        assert not re.search(r"  | [.,;]|\.\.|,,|;;", text), text
        sentences = re.findall(r"[^.]+\.", text)
        assert 1 <= len(sentences) <= 3, text
        assert "".join(sentences) == text
        assert all(sentence.strip()[0].isupper() for sentence in sentences), text


def test_paraphrases_avoid_the_plain_words(pieces: list[Piece], paraphrases: list[str]) -> None:
    for piece, text in zip(pieces, paraphrases, strict=True):
        assert piece.genre not in text.lower(), text
        assert not PLAIN_TEMPO.search(text), text
        assert _says(text, *words.ROUND_GENRES[piece.genre]), text


def test_circumlocutions_occur_in_captions_too(pieces: list[Piece], captions: list[str]) -> None:
    for table, key in ((words.ROUND_GENRES, "genre"), (words.ROUND_TEMPO_WORDS, "tempo_class")):
        share = sum(_says(text, *table[getattr(p, key)]) for p, text in zip(pieces, captions, strict=True)) / COUNT
        assert 0.1 < share < 0.4


def test_fixed_prompts_are_inside_the_vocabulary(captions: list[str]) -> None:
    known = set(re.findall(r"[a-z]+", " ".join(captions).lower()))
    for prompt in (
        "A fast techno beat with a synth lead.", "A relaxing piano melody with rain sounds.", "Heavy metal guitar riff.",
    ):  # fmt: skip
        assert set(re.findall(r"[a-z]+", prompt.lower())) <= known


def test_aspects(pieces: list[Piece]) -> None:
    for seed, piece in enumerate(pieces[:300]):
        aspects = describe(piece, seed)[1]
        assert aspects[0] == piece.genre
        assert f"{round(piece.tempo)} bpm" in aspects
        assert len(aspects) == len(set(aspects))
        assert ("rain sounds" in aspects) == piece.rain
        assert {NAMES[name][0] for name in piece.instruments} <= set(aspects)
        assert any(word in aspects for word in words.MOODS[piece.mood])


def test_articles_and_lists() -> None:
    assert [article(text) for text in ("aggressive", "uplifting", "euphoric", "techno", "organ", "urgent")] == [
        "an aggressive", "an uplifting", "a euphoric", "a techno", "an organ", "an urgent",
    ]  # fmt: skip
    assert [listing(list("x")), listing(list("xy")), listing(list("xyz"))] == ["x", "x and y", "x, y and z"]
