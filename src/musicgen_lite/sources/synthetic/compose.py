"""From a seed to a piece: genre, tempo, key, mood, instruments and every note."""

import hashlib
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from musicgen_lite.sources.synthetic.styles import (
    BRIGHT_MODES,
    ENERGY,
    MELODY,
    SCALES,
    STEPS,
    STYLES,
    TONES,
    Progression,
    Style,
)

FRAME_S = 0.02
BEATS_PER_BAR = 4
KEYS = ("C", "C sharp", "D", "E flat", "E", "F", "F sharp", "G", "A flat", "A", "B flat", "B")
# General MIDI percussion numbers.
DRUM_PITCHES = {
    "kick": 36, "rim": 37, "snare": 38, "clap": 39, "closed hat": 42, "open hat": 46, "tom": 45, "ride": 51, "shaker": 70,
}  # fmt: skip
DRUM_VELOCITIES = {"x": 96, "X": 118, "o": 58}
# Lowest pitch of each part; leads sit an octave around theirs.
BASS_LOW, CHORD_LOW, RIFF_LOW = 33, 55, 40
LEAD_LOW = {
    "flute": 72, "bell": 74, "vibraphone": 67, "violin": 69, "trumpet": 64, "saxophone": 60, "synth arpeggio": 60,
    "brass section": 60, "electric guitar": 62, "lead guitar": 64, "harmonica": 67, "piano": 69,
}  # fmt: skip
DISTORTED = ("distorted guitar",)
MELODIC_FORMS = ("ABAB", "AABA", "ABAC", "AAAB")


@dataclass(frozen=True)
class Note:
    """One note of a track (an instrument's name); times in seconds, MIDI pitch and velocity. Drums use MIDI's numbers."""

    track: str
    start_s: float
    duration_s: float
    pitch: int
    velocity: int


@dataclass(frozen=True)
class Piece:
    """A composed piece. `lead`, `chords`, `bass` and `drums` name the instrument of each part, or are empty."""

    genre: str
    tempo: float
    key: str
    mode: str
    mood: str
    lead: str
    chords: str
    bass: str
    drums: str
    rain: bool
    reverb: float
    notes: tuple[Note, ...]

    @property
    def instruments(self) -> tuple[str, ...]:
        """The instruments that play, each once: lead, chords, bass, drums."""
        return tuple(dict.fromkeys(name for name in (self.lead, self.chords, self.bass, self.drums) if name))

    @property
    def tempo_class(self) -> str:
        """slow (under 90 BPM), medium (up to 125) or fast."""
        return "slow" if self.tempo < 90 else "medium" if self.tempo <= 125 else "fast"

    def digest(self) -> str:
        """A short hash of the note sequence."""
        text = ";".join(f"{n.track},{n.start_s:.5f},{n.duration_s:.5f},{n.pitch},{n.velocity}" for n in self.notes)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class _Grid:
    """Where the steps of a bar fall in time."""

    beat_s: float
    swing: bool

    def time(self, bar: int, step: int) -> float:
        beat, part = divmod(step, STEPS // BEATS_PER_BAR)
        fraction = (0.0, 1 / 3, 2 / 3, 5 / 6)[part] if self.swing else part / 4
        return (bar * BEATS_PER_BAR + beat + fraction) * self.beat_s


def _events(rhythm: str) -> Iterator[tuple[int, int, str]]:
    """Each struck step of a rhythm with the steps it is held, itself included, and its letter."""
    for step, letter in enumerate(rhythm):
        if letter not in ".-":
            held = 1
            while step + held < len(rhythm) and rhythm[step + held] == "-":
                held += 1
            yield step, held, letter


def _pitch(tonic: int, scale: Sequence[int], degree: int) -> int:
    octave, step = divmod(degree, len(scale))
    return tonic + 12 * octave + scale[step]


def _chord_at(progression: Progression, bar: int, step: int) -> int:
    chords = progression[bar % len(progression)]
    return chords[step * len(chords) // STEPS]


def _raise_to(pitch: int, low: int) -> int:
    """The same tone within the octave above `low`."""
    return low + (pitch - low) % 12


class _Composer:
    def __init__(
        self, style: Style, rng: random.Random, tonic: int, mode: str, grid: _Grid, bars: int, push: int
    ) -> None:
        self.style, self.rng, self.grid, self.bars, self.push = style, rng, grid, bars, push
        self.tonic, self.mode, self.scale = tonic, mode, SCALES[mode]
        self.progression = rng.choice(style.progressions)
        self.notes: list[Note] = []

    def _add(self, track: str, bar: int, step: int, held: float, pitch: int, velocity: int) -> None:
        start = self.grid.time(bar, step)
        whole = int(held)
        end = self.grid.time(bar, step + whole) + (held - whole) * self.grid.beat_s / 4
        self.notes.append(Note(track, start, end - start, pitch, max(20, min(127, velocity + self.push))))

    def drums(self, kit: str) -> None:
        pattern = self.rng.choice(self.style.drums)
        for bar in range(self.bars):
            for drum, steps in pattern.items():
                for step, _, letter in _events(steps):
                    self._add(kit, bar, step, 1, DRUM_PITCHES[drum], DRUM_VELOCITIES[letter])

    def bass(self, track: str) -> None:
        rhythm = self.rng.choice(self.style.bass_rhythms)
        for bar in range(self.bars):
            for step, held, letter in _events(rhythm):
                degree = _chord_at(self.progression, bar, step)
                root = _raise_to(_pitch(self.tonic, self.scale, degree), BASS_LOW)
                interval = _pitch(0, self.scale, degree + TONES[letter]) - _pitch(0, self.scale, degree)
                self._add(track, bar, step, held - 0.1, root + interval, 104 if step % 4 == 0 else 92)

    def chords(self, track: str, softer: int, answers: bool) -> None:
        rhythm = self.rng.choice(self.style.chord_rhythms)
        rhythms = (rhythm, self._answer(rhythm)) if answers else (rhythm,)
        # A riff needs no chord: a distorted guitar sounds root, fifth and octave for every note.
        voicing = (0,) if track in DISTORTED else (0, 2, 4, 6) if self.style.voicing == "seventh" else (0, 2, 4)
        low = RIFF_LOW if track in DISTORTED else CHORD_LOW
        for bar in range(self.bars):
            for step, held, letter in _events(rhythms[bar % len(rhythms)]):
                degree = _chord_at(self.progression, bar, step)
                velocity = (92 if step % 4 == 0 else 80) - softer
                if letter == "x":
                    tones = [_raise_to(_pitch(self.tonic, self.scale, degree + tone), low) for tone in voicing]
                else:
                    root = _raise_to(_pitch(self.tonic, self.scale, degree), low if track in DISTORTED else low - 7)
                    interval = _pitch(0, self.scale, degree + TONES[letter]) - _pitch(0, self.scale, degree)
                    tones = [root + interval]
                for tone in tones:
                    self._add(track, bar, step, held - 0.1, tone, velocity)

    def _answer(self, rhythm: str) -> str:
        """The rhythm with four of its off-steps made single tones: what every second bar plays where no lead does."""
        steps = list(rhythm)
        for step in self.rng.sample(range(2, STEPS, 2), 4):
            steps[step] = self.rng.choice("rtfovd")
        return "".join(steps)

    def lead(self, track: str) -> None:
        low = LEAD_LOW.get(track, 67)
        if track == "synth arpeggio":
            return self._arpeggio(track, low)
        tonic = _raise_to(self.tonic, low - 5)
        tones = [self.scale[degree] for degree in MELODY[self.mode]]
        motifs = {name: self._motif(low - tonic, tones) for name in "ABC"}
        form = self.rng.choice(MELODIC_FORMS)
        for bar in range(self.bars):
            for step, held, pitch in motifs[form[bar % len(form)]]:
                self._add(track, bar, step, held - 0.1, tonic + pitch, 104 if step % 4 == 0 else 94)
        return None

    def _motif(self, low: int, tones: list[int]) -> list[tuple[int, int, int]]:
        """One bar of melody: (step, steps held, semitones above the tonic), a walk along the five-tone scale."""
        place = self.rng.randrange(2, 7)
        motif = []
        for step, held, _ in _events(self.rng.choice(self.style.lead_rhythms)):
            pitch = _pitch(0, tones, place)
            motif.append((step, held, pitch if pitch >= low else pitch + 12))
            move = self.rng.choice((-2, -1, -1, 0, 1, 1, 2))
            # Turn round at the edges of an octave and a half.
            place += move if 0 <= place + move <= 8 else -move
        return motif

    def _arpeggio(self, track: str, low: int) -> None:
        order = [self.rng.choice("rtfod") for _ in range(self.rng.choice((4, 8)))]
        for bar in range(self.bars):
            for step in range(STEPS):
                degree = _chord_at(self.progression, bar, step)
                root = _raise_to(_pitch(self.tonic, self.scale, degree), low)
                tone = TONES[order[step % len(order)]]
                interval = _pitch(0, self.scale, degree + tone) - _pitch(0, self.scale, degree)
                self._add(track, bar, step, 0.9, root + interval, 104 if step % 4 == 0 else 90)


def compose(seed: int, seconds: float = 8.0) -> Piece:
    """The piece of a seed, from its first bar on: all notes that start within `seconds`.

    A longer piece of the same seed begins with the same notes.
    """
    rng = random.Random(f"piece {seed}")
    style = STYLES[rng.choice(tuple(STYLES))]
    mode = rng.choice(style.modes)
    mood = rng.choice(style.moods[0 if mode in BRIGHT_MODES else 1])
    energy = ENERGY[mood]
    tempos = sorted(style.frames_per_beat)
    share = math.ceil(len(tempos) * 0.6)
    frames = rng.choice(tempos if energy == 0 else tempos[:share] if energy > 0 else tempos[-share:])
    tonic = rng.randrange(12)
    chords = rng.choice(style.chords)
    lead = rng.choice(style.leads) if rng.random() < style.lead_chance else ""
    bass = rng.choice(style.basses) if style.basses and rng.random() < style.bass_chance else ""
    kit = style.kit if style.kit and rng.random() < style.drums_chance else ""
    rain = rng.random() < style.rain_chance

    beat_s = frames * FRAME_S
    bars = math.ceil(seconds / (BEATS_PER_BAR * beat_s))
    composer = _Composer(style, rng, tonic, mode, _Grid(beat_s, style.swing), bars, 14 * energy)
    if lead:
        composer.lead(lead)
    # The left hand of a player who also has the melody stays below it.
    composer.chords(chords, softer=18 if chords == lead else 0, answers=not lead)
    if bass:
        composer.bass(bass)
    if kit:
        composer.drums(kit)
    notes = tuple(
        sorted((n for n in composer.notes if n.start_s < seconds), key=lambda n: (n.start_s, n.track, n.pitch))
    )
    return Piece(
        style.genre, 60.0 / beat_s, KEYS[tonic], mode, mood, lead, chords, bass, kit, rain, style.reverb, notes
    )
