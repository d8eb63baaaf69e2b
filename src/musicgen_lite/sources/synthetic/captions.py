"""Truthful English captions of a piece, in the manner of MusicCaps, and its list of aspects."""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from musicgen_lite.sources.synthetic import words
from musicgen_lite.sources.synthetic.compose import Piece
from musicgen_lite.sources.synthetic.styles import ENERGY

ROUND_CHANCE = 0.3
STATES_TEMPO_CHANCE = 0.5
TEMPO_CHANCE = 0.85
MOOD_CHANCE = 0.85
# How often a melody names the caption in place of the genre: "a relaxing piano melody with rain sounds".
MELODY_CHANCE = 0.07


@dataclass(frozen=True)
class Caption:
    """A caption, its aspects, and whether its text states the tempo in BPM."""

    text: str
    aspects: tuple[str, ...]
    states_tempo: bool


def describe(piece: Piece, seed: int) -> tuple[str, tuple[str, ...]]:
    """The caption and the aspects of a piece."""
    words_ = caption(piece, seed)
    return words_.text, words_.aspects


def caption(piece: Piece, seed: int) -> Caption:
    """The caption of a piece: one to three sentences, true of it; the same for the same seed."""
    writer = _Writer(piece, random.Random(f"caption {seed}"), ROUND_CHANCE)
    text = writer.write(STATES_TEMPO_CHANCE)
    return Caption(text, _aspects(piece, writer.rng), "BPM" in text)


def paraphrase(piece: Piece, seed: int) -> str:
    """A caption that names neither the genre nor its tempo by the plain words: only circumlocutions and no BPM."""
    return _Writer(piece, random.Random(f"paraphrase {seed}"), 1.0).write(0.0)


def _aspects(piece: Piece, rng: random.Random) -> tuple[str, ...]:
    aspects = [piece.genre, rng.choice(words.MOODS[piece.mood]), rng.choice(words.TEMPO_WORDS[piece.tempo_class])]
    aspects += [(words.KITS | words.INSTRUMENTS)[name][0] for name in piece.instruments]
    aspects += ["instrumental", f"{round(piece.tempo)} bpm", f"{piece.key} {piece.mode}"]
    aspects += ["rain sounds"] if piece.rain else []
    aspects += [] if piece.drums else ["no drums"]
    return tuple(aspects)


def article(phrase: str) -> str:
    """The phrase with "a" or "an" before it, by its first sound."""
    vowel = re.match(r"[aeiou]", phrase, re.IGNORECASE) and not re.match(r"eu|uni(?!n)|use|one|Eur", phrase)
    return f"{'an' if vowel else 'a'} {phrase}"


def listing(phrases: Sequence[str]) -> str:
    """The phrases as an English list: "x, y and z"."""
    return " and ".join(part for part in (", ".join(phrases[:-1]), phrases[-1]) if part)


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + ("" if text.endswith(".") else ".")


class _Writer:
    """Writes one caption; `round_chance` is how often it goes round the plain words."""

    def __init__(self, piece: Piece, rng: random.Random, round_chance: float) -> None:
        self.piece, self.rng, self.round_chance = piece, rng, round_chance
        self.kind = self._choose(words.GENRES, words.ROUND_GENRES, piece.genre)
        self.melody = ""
        if piece.lead in words.MELODISTS and self.kind in words.GENRES[piece.genre] and rng.random() < MELODY_CHANCE:
            self.melody = piece.lead
            self.kind = f"{words.INSTRUMENTS[piece.lead][0]} melody"
        self.used = set(self.kind.lower().split())

    def _choose(self, plain: dict[str, tuple[str, ...]], around: dict[str, tuple[str, ...]], key: str) -> str:
        return self.rng.choice((around if self.rng.random() < self.round_chance else plain)[key])

    def _fresh(self, phrases: Sequence[str]) -> str:
        """One of the phrases that repeats no word of the caption's noun phrases so far, where there is one."""
        free = [phrase for phrase in phrases if not self.used & set(phrase.lower().split())]
        phrase = self.rng.choice(free or list(phrases))
        self.used |= set(phrase.lower().split())
        return phrase

    def _name(self, instrument: str) -> str:
        names = (words.INSTRUMENTS | words.KITS)[instrument]
        return article(names[0] if self.rng.random() < 0.5 else self.rng.choice(names[1:]))

    def write(self, states_tempo_chance: float) -> str:
        piece, rng = self.piece, self.rng
        states_tempo = rng.random() < states_tempo_chance
        mentions_tempo = rng.random() < TEMPO_CHANCE
        mood = self._fresh(words.MOODS[piece.mood]) if rng.random() < MOOD_CHANCE else ""
        mood_apart = bool(mood) and rng.random() < 0.2
        tempo_apart = mentions_tempo and rng.random() < 0.4
        adjectives = [mood] if mood and not mood_apart else []
        if mentions_tempo and not tempo_apart:
            adjectives.append(self._choose(words.TEMPO_WORDS, words.ROUND_TEMPO_WORDS, piece.tempo_class))
        rng.shuffle(adjectives)
        subject = " ".join([*adjectives, self.kind])
        rain_first = piece.rain and rng.random() < 0.5
        sentences = [_sentence(self._opening(article(subject), rain_first))]
        details = []
        if tempo_apart or states_tempo:
            details.append(self._tempo(tempo_apart, states_tempo))
        if mood_apart:
            details.append(rng.choice((f"The mood is {mood}.", f"It feels {mood}.", f"The atmosphere is {mood}.")))
        if piece.rain and not rain_first:
            details.insert(0, rng.choice(words.RAIN_SENTENCES))
        if not piece.drums and rng.random() < 0.4:
            details.append(rng.choice(words.NO_DRUMS))
        if rng.random() < 0.2:
            details.append(rng.choice((f"It is in {piece.key} {piece.mode}.", f"The key is {piece.key} {piece.mode}.")))
        if len(details) < 2 and rng.random() < 0.12:
            details.append(rng.choice(words.USES[ENERGY[piece.mood]]))
        return " ".join(sentences + self._merge(details))

    def _opening(self, subject: str, rain_first: bool) -> str:
        """The first sentence: what it is and who plays."""
        piece, rng = self.piece, self.rng
        named = [name for name in piece.instruments if name != self.melody]
        players = [self._name(name) for name in named]
        # Now and then the accompaniment stays unnamed.
        if len(players) > 2 and rng.random() < 0.3:
            players = players[: rng.choice((1, 2))] if piece.lead else players[:2]
        rain = f" {rng.choice(words.RAIN)}" if rain_first else ""
        if not players:
            return f"{subject}{rain}"
        if len(players) > 1 and piece.lead not in ("", piece.chords, self.melody) and rng.random() < 0.35:
            if piece.lead == "synth arpeggio":
                leading = f"{players[0]} {rng.choice(words.ARPEGGIO_VERBS)}, with {listing(players[1:])}"
            else:
                verb = self._fresh([verb for verb in words.LEAD_VERBS if verb.split()[-1] not in players[0]])
                leading = f"{players[0]} {verb} {rng.choice(words.BACKING)} {listing(players[1:])}"
            return rng.choice((f"{subject}{rain} in which {leading}", f"this is {subject}{rain} where {leading}"))
        if len(piece.instruments) == 1 and rng.random() < 0.5:
            return f"{subject} for solo {players[0].split(' ', 1)[1]}{rain}"
        rain = f" {rng.choice(words.RAIN_LAST)}" if rain_first else ""
        start = rng.choice([start for start in words.OPENINGS if not self.used & set(start.split())])
        link = rng.choice(words.WITH if len(players) == len(piece.instruments) else words.PARTIAL_WITH)
        return f"{start}{subject} {link} {listing(players)}{rain}"

    def _tempo(self, apart: bool, states: bool) -> str:
        """A sentence about the tempo, with the BPM where it is to be stated."""
        bpm = f"{round(self.piece.tempo)} BPM"
        if not apart:
            return self.rng.choice((f"The tempo is {bpm}.", f"It runs at {bpm}.", f"The beat is at {bpm}."))
        clause = self._choose(words.TEMPO_CLAUSES, words.ROUND_TEMPO_CLAUSES, self.piece.tempo_class)
        if not states:
            return f"{self.rng.choice(('It', 'The music', 'The piece'))} {clause}."
        return self.rng.choice(
            (f"It {clause}, at {bpm}.", f"The music {clause}, around {bpm}.", f"It {clause} ({bpm}).")
        )

    def _merge(self, details: list[str]) -> list[str]:
        """At most two further sentences: what is left over is joined by semicolons."""
        if len(details) <= 2:
            return details
        first, *rest = details
        return [
            first,
            "; ".join([rest[0].rstrip("."), *(text[0].lower() + text[1:].rstrip(".") for text in rest[1:])]) + ".",
        ]
