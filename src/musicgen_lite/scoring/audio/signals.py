"""Measurements on the waveform: level, clipping, silence, pulse, and tempo and key where the caption states them."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from musicgen_lite.io import audio
from musicgen_lite.rhythm import TEMPO_ESTIMATE, TOLERANCE, Onsets, stated_tempo, tempo_matches
from musicgen_lite.scoring.audio.embeddings import Item
from musicgen_lite.scoring.audio.key import estimate_key, key_matches, stated_key
from musicgen_lite.scoring.statistics import intervals
from musicgen_lite.scoring.statistics.intervals import Bootstrap
from musicgen_lite.scoring.statistics.pairing import check_same
from musicgen_lite.scoring.statistics.scores import Scores


def signal_scores(items: Iterable[Item], captions: Mapping[str, str], bootstrap: Bootstrap) -> Scores:
    """Level, peak, clipping, silence and pulse of every clip, and the shares whose tempo and key are the stated ones.

    Tempo and key are estimated only where the caption states them, and their scores are withheld where none does. The
    table has every clip, silent ones too.
    """
    table = pd.DataFrame([_measured(*item, captions.get(item[0], "")) for item in items])
    check_same(captions, table["id"], "captions of the measured clips")
    scores = Scores(tables={"signals": table})
    for name, faulty in (("silent", table["silent"]), ("clipping", table["clipped"] > 0)):
        scores.add({name: intervals.proportion(int(faulty.sum()), len(table))})
    scores.add({"pulse": intervals.mean(table["pulse"].to_numpy(), bootstrap)})
    scores.update(_kept_tempo(table[table["stated_bpm"].notna()], bootstrap))
    scores.update(_kept_key(table[table["stated_key"].notna()], bootstrap))
    scores.notes["signals"] = {
        "clips": len(table), "silent": int(table["silent"].sum()), "stating_a_tempo": int(table["stated_bpm"].count()),
        "stating_a_key": int(table["stated_key"].count()), "tolerance": TOLERANCE, "tempo_estimate": TEMPO_ESTIMATE,
        "rms_db_median": float(table["rms_db"].median()), "peak_max": float(table["peak"].max()),
    }  # fmt: skip
    return scores


def _measured(clip: str, samples: np.ndarray, rate: int, caption: str) -> dict[str, Any]:
    """One row of the table."""
    level = audio.rms_db(samples)
    row = {
        "id": clip, "rms_db": level, "peak": audio.peak(samples), "clipped": audio.clipped_fraction(samples),
        "silent": level < audio.SILENCE_DB,
    }  # fmt: skip
    return row | _rhythm(Onsets.of(samples, rate), stated_tempo(caption)) | _key(samples, rate, caption)


def _rhythm(onsets: Onsets, stated: float | None) -> dict[str, Any]:
    found = onsets.tempo() if stated else None
    hits = [
        found is not None and stated is not None and tempo_matches(found, stated, octaves) for octaves in (False, True)
    ]
    return {
        "pulse": onsets.pulse(), "pulse_stated": onsets.pulse_at(stated) if stated else None,
        "stated_bpm": stated, "tempo_bpm": found, "tempo_hit": hits[0], "tempo_hit_octaves": hits[1],
    }  # fmt: skip


def _key(samples: np.ndarray, rate: int, caption: str) -> dict[str, Any]:
    stated = stated_key(caption)
    found = estimate_key(samples, rate) if stated else None
    hits = [stated is not None and key_matches(found, stated, relative) for relative in (False, True)]
    names = {name: None if key is None else str(key) for name, key in (("stated_key", stated), ("key", found))}
    return {**names, "key_hit": hits[0], "key_hit_relative": hits[1]}


def _shares(stating: pd.DataFrame, columns: Mapping[str, str]) -> Scores:
    """The share of the clips in which each column holds, under the names of the estimates."""
    return Scores(
        {name: intervals.proportion(int(stating[column].sum()), len(stating)) for name, column in columns.items()}
    )


def _kept_tempo(stating: pd.DataFrame, bootstrap: Bootstrap) -> Scores:
    """The scores of the clips whose captions state a tempo."""
    if len(stating) == 0:
        return Scores(notes=dict.fromkeys(("tempo", "pulse_stated"), "withheld: no caption states a tempo"))
    scores = _shares(stating, {"tempo": "tempo_hit", "tempo_octaves": "tempo_hit_octaves"})
    if len(stating) > 1:
        scores.add({"pulse_stated": intervals.mean(stating["pulse_stated"].to_numpy(float), bootstrap)})
    else:
        scores.notes["pulse_stated"] = "withheld: a single caption states a tempo"
    return scores


def _kept_key(stating: pd.DataFrame, bootstrap: Bootstrap) -> Scores:
    """The scores of the clips whose captions state a key; chance is the same found keys against the others' captions."""
    if len(stating) == 0:
        return Scores(notes={"key": "withheld: no caption states a key"})
    scores = _shares(stating, {"key": "key_hit", "key_relative": "key_hit_relative"})
    if len(stating) > 1:
        found, stated = (stating[name].to_numpy(object) for name in ("key", "stated_key"))
        hits = found[:, None] == stated[None, :]
        others = (hits.sum(axis=1) - np.diag(hits)) / (len(stating) - 1)
        scores.add({"key_shuffled": intervals.mean(others, bootstrap)})
    return scores
