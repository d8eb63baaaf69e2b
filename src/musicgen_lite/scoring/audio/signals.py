"""Measurements on the waveform: level, clipping, silence, and the tempo where the caption states one."""

import re
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from musicgen_lite.io import audio
from musicgen_lite.scoring.audio.embeddings import Item
from musicgen_lite.scoring.statistics import intervals
from musicgen_lite.scoring.statistics.pairing import check_same
from musicgen_lite.scoring.statistics.scores import Scores

TOLERANCE = 0.05
HOP_S = 0.01
SLOWEST, FASTEST = 20.0, 400.0  # BPM of music
_NUMBER = r"(?<!\d)(?<!\d[.,])(?<![a-z])(\d+(?:[.,]\d+)*)"
_UNIT = r"(?:bpms?\b|b\.p\.m\b|beats?[\s-]*(?:per|a|/)[\s-]*min(?:ute)?s?\b)"
_FIRST = rf"{_NUMBER}\s*{_UNIT}?\s*"
# A number and its unit, after the other end of a range if there is one; or the unit and its number.
_TEMPO = re.compile(
    rf"(?:between\s+{_FIRST}and\s+|{_FIRST}(?:[-–—−~]|to|or)\s*)?{_NUMBER}[\s-]*{_UNIT}"
    rf"|{_UNIT}\s*(?:[:=~]|of|is|at|around|about)?\s*{_NUMBER}(?!\w)",
    re.IGNORECASE,
)


def stated_tempo(caption: str) -> float | None:
    """The tempo in BPM that a caption states in digits, such as "at 128 BPM".

    None where it states none, a range, several, or an impossible one.
    """
    stated = set()
    for match in _TEMPO.finditer(caption):
        *others, last = (_number(text) for text in match.groups() if text)
        stated |= {last, *filter(_possible, others)}
    return stated.pop() if len(stated) == 1 and all(map(_possible, stated)) else None


def _possible(bpm: float) -> bool:
    return SLOWEST <= bpm <= FASTEST


def _number(text: str) -> float:
    """A number as people write it: a comma before three digits separates thousands, otherwise decimals."""
    try:
        return float(re.sub(r",(?=\d{3}(?!\d))", "", text).replace(",", "."))
    except ValueError:  # 1.2.3
        return 0.0


def tempo(samples: np.ndarray, rate: int) -> float:
    """Tempo in BPM of `[T]` by librosa's onset strength and autocorrelation tempogram, hop 10 ms; 0 for silence.

    Octave errors (double, half) are its usual mistakes.
    """
    from librosa.feature import tempo as estimate  # slow to import, and only needed here
    from librosa.onset import onset_strength

    if audio.rms_db(samples) < audio.SILENCE_DB:
        return 0.0
    hop = round(HOP_S * rate)
    onsets = onset_strength(y=samples, sr=rate, hop_length=hop)
    return float(estimate(onset_envelope=onsets, sr=rate, hop_length=hop)[0])


def tempo_matches(found: float, stated: float, octaves: bool = False) -> bool:
    """Whether `found` is within 5 % of `stated`; with `octaves`, of its half or double too."""
    factors = (1.0, 0.5, 2.0) if octaves else (1.0,)
    return any(abs(found - factor * stated) <= TOLERANCE * factor * stated for factor in factors)


def signal_scores(items: Iterable[Item], captions: Mapping[str, str]) -> Scores:
    """Level, peak, clipping and silence of every clip, and the share whose tempo is the stated one.

    Tempo is estimated only where the caption states it. The table has every clip, silent ones too.
    """
    rows = []
    for clip, samples, rate in items:
        stated = stated_tempo(captions[clip]) if clip in captions else None
        found = tempo(samples, rate) if stated else None
        rows.append(
            {
                "id": clip, "rms_db": audio.rms_db(samples), "peak": audio.peak(samples),
                "clipped": audio.clipped_fraction(samples), "silent": audio.rms_db(samples) < audio.SILENCE_DB,
                "stated_bpm": stated, "tempo_bpm": found,
                "tempo_hit": found is not None and stated is not None and tempo_matches(found, stated),
                "tempo_hit_octaves": found is not None and stated is not None and tempo_matches(found, stated, True),
            }
        )  # fmt: skip
    table = pd.DataFrame(rows)
    check_same(captions, table["id"], "captions of the measured clips")
    scores = Scores(tables={"signals": table})
    n, stating = len(table), int(table["stated_bpm"].notna().sum())
    scores.add({"silent": intervals.proportion(int(table["silent"].sum()), n)})
    scores.add({"clipping": intervals.proportion(int((table["clipped"] > 0).sum()), n)})
    if stating:
        for name, column in (("tempo", "tempo_hit"), ("tempo_octaves", "tempo_hit_octaves")):
            scores.add({name: intervals.proportion(int(table[column].sum()), stating)})
    scores.notes["signals"] = {
        "clips": n, "silent": int(table["silent"].sum()), "stating_a_tempo": stating, "tolerance": TOLERANCE,
        "rms_db_median": float(table["rms_db"].median()), "peak_max": float(table["peak"].max()),
    }  # fmt: skip
    return scores
