"""Key: the key that a caption states, and the key of audio by its chroma and the profiles of Albrecht and Shanahan (2013)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from musicgen_lite.io import audio
from musicgen_lite.scoring.audio import chroma

TONICS = ("C", "C sharp", "D", "E flat", "E", "F", "F sharp", "G", "A flat", "A", "B flat", "B")
NATURALS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
ACCIDENTALS = {"": 0, "sharp": 1, "#": 1, "♯": 1, "flat": -1, "b": -1, "♭": -1}
# The church modes count by their third.
MODES = {
    "major": "major", "maj": "major", "ionian": "major", "lydian": "major", "mixolydian": "major",
    "minor": "minor", "min": "minor", "aeolian": "minor", "dorian": "minor", "phrygian": "minor",
}  # fmt: skip
# The share of each pitch class, from the tonic on, in 490 pieces of known key: Albrecht and Shanahan, "The use of large
# corpora to train a new type of key-finding algorithm", Music Perception 31 (2013). Of composed clips they find as
# many keys as the profiles of Temperley (2007) and more than those of Krumhansl and Kessler (1982): benchmarks.rhythm.
PROFILES = {
    "major": (0.238, 0.006, 0.111, 0.006, 0.137, 0.094, 0.016, 0.214, 0.009, 0.080, 0.008, 0.081),
    "minor": (0.220, 0.006, 0.104, 0.123, 0.019, 0.103, 0.012, 0.214, 0.062, 0.022, 0.061, 0.052),
}
# A letter, an accidental and a mode; of a chord or an interval it says nothing about the key.
_KEY = re.compile(
    rf"(?<![\w#♯♭'’-])(?P<letter>[a-g])(?:[ -]?(?P<accidental>sharp|flat|[#♯b♭]))?[ -]?(?P<mode>{'|'.join(MODES)})\b"
    r"(?P<rest>\s+\w+)?",
    re.IGNORECASE,
)
_NO_KEY = re.compile(r"\s+(chord|triad|arpeggio|second|third|sixth|seventh|ninth|[2679]|7th|9th)", re.IGNORECASE)


@dataclass(frozen=True)
class Key:
    """A tonic, in semitones above C, and a mode, major or minor."""

    tonic: int
    mode: str

    def __str__(self) -> str:
        return f"{TONICS[self.tonic]} {self.mode}"

    @property
    def relative(self) -> "Key":
        """The key of the other mode that has the same tones."""
        return Key((self.tonic + 9) % 12, "minor") if self.mode == "major" else Key((self.tonic + 3) % 12, "major")


KEYS = tuple(Key(tonic, mode) for mode in PROFILES for tonic in range(12))


def stated_key(caption: str) -> Key | None:
    """The key that a caption states, such as "in F sharp minor"; None where it states none or several."""
    stated = {_key(match) for match in _KEY.finditer(caption) if _is_key(match)}
    return stated.pop() if len(stated) == 1 else None


def _key(match: re.Match[str]) -> Key:
    tonic = NATURALS[match["letter"].upper()] + ACCIDENTALS[(match["accidental"] or "").lower()]
    return Key(tonic % 12, MODES[match["mode"].lower()])


def _is_key(match: re.Match[str]) -> bool:
    """Whether the words name a key: no chord, and no article, as in "a minor key" or "A major hit." """
    if match["rest"] and _NO_KEY.match(match["rest"]):
        return False
    if match["letter"] not in "aA" or match["accidental"]:
        return True
    before = match.string[: match.start()].rstrip()
    begins = not before or before[-1] in ".!?:;"
    return match["letter"] == "A" and not (begins and match["rest"])


def estimate_key(samples: np.ndarray, rate: int) -> Key | None:
    """The key of `[T]` whose profile correlates best with the chroma; None for silence.

    The relative, the parallel and the fifths' keys are its usual mistakes.
    """
    if audio.rms_db(samples) < audio.SILENCE_DB:
        return None
    return best_key(chroma.profile(samples, rate))


def best_key(profile: np.ndarray, profiles: Mapping[str, Sequence[float]] = PROFILES) -> Key:
    """The key whose profile, major or minor, correlates best with a chroma profile `[12]`."""
    found = _standardised(profile)
    fits = [found @ _standardised(np.roll(profiles[key.mode], key.tonic)) for key in KEYS]
    return KEYS[int(np.argmax(fits))]


def _standardised(profile: np.ndarray) -> np.ndarray:
    centred = profile - profile.mean()
    return centred / (np.linalg.norm(centred) or 1.0)


def key_matches(found: Key | None, stated: Key, relative: bool = False) -> bool:
    """Whether `found` is `stated`, tonic and mode; with `relative`, or the relative key, which has the same tones."""
    return found == stated or (relative and found == stated.relative)
