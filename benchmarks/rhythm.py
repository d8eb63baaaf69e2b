"""How often tempo, beats and key of composed clips, whose composer knows them, are found: `python -m benchmarks.rhythm`.

The last 5 s of each clip, as they are and through the shipped codec: the tempo by this project's estimate and by librosa's
autocorrelation tempogram, the first beat (within a tenth of a beat, where the tempo is right), and the key by three pairs of key
profiles.
"""

import argparse
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch

from musicgen_lite import codec
from musicgen_lite.codec import Codec
from musicgen_lite.io.progress import track
from musicgen_lite.rhythm import HOP_S, Onsets, tempo_matches
from musicgen_lite.scoring.audio import chroma
from musicgen_lite.scoring.audio.key import PROFILES, best_key, key_matches, stated_key
from musicgen_lite.scoring.statistics import intervals
from musicgen_lite.sources.synthetic import clips

FIRST_SEED = 8_000_000  # the estimate was chosen on the 300 clips from 7,000,000 on
SECONDS, CLIP_SECONDS, RATE = 5.0, 8.0, 16000
BY = {
    "Albrecht and Shanahan": PROFILES,
    "Krumhansl and Kessler": {
        "major": (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
        "minor": (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
    },
    "Temperley": {
        "major": (0.748, 0.060, 0.488, 0.082, 0.670, 0.460, 0.096, 0.715, 0.104, 0.366, 0.057, 0.400),
        "minor": (0.712, 0.084, 0.474, 0.618, 0.049, 0.460, 0.105, 0.747, 0.404, 0.067, 0.133, 0.330),
    },
}


def found(samples: np.ndarray, bpm: float, key: str) -> dict[str, bool]:
    """What is found of one clip, by a name for each way to find it."""
    from librosa.feature import tempo as by_librosa

    onsets, profile, stated = Onsets.of(samples, RATE), chroma.profile(samples, RATE), stated_key(f"in {key}")
    assert stated
    peer = by_librosa(onset_envelope=onsets.strength, sr=RATE, hop_length=round(HOP_S * RATE))[0]
    hits: dict[str, bool] = {}
    for name, tempo in (("tempo", onsets.tempo()), ("tempo, librosa", float(peer))):
        hits |= {name: tempo_matches(tempo, bpm), f"{name}, octaves": tempo_matches(tempo, bpm, octaves=True)}
    beat = onsets.beat()
    if hits["tempo"]:
        # A piece begins with a bar, and `samples` are its end.
        beats = (beat.beat_s + CLIP_SECONDS - SECONDS) * bpm / 60
        hits["first beat"] = abs(beats - round(beats)) < 0.1
    for name, profiles in BY.items():
        own = best_key(profile, profiles)
        hits |= {
            f"key, {name}": key_matches(own, stated),
            f"key, {name}, relative": key_matches(own, stated, relative=True),
        }
    return hits


def through(encodec: Codec, samples: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        decoded = encodec.decode(encodec.encode(torch.from_numpy(samples)[None]))
    return np.asarray(decoded[0])[: len(samples)]


def rows(encodec: Codec, count: int) -> Iterator[tuple[str, dict[str, bool]]]:
    for one in track(clips(FIRST_SEED, count, "test", CLIP_SECONDS, RATE), "composed clips", count, "clip"):
        facts: Any = (one.extra["tempo"], one.extra["key"])
        samples = one.samples[-round(SECONDS * RATE) :]
        yield "as they are", found(samples, *facts)
        yield "through the codec", found(through(encodec, samples), *facts)


def report(hits: Iterable[tuple[str, dict[str, bool]]]) -> None:
    counts: dict[tuple[str, str], list[bool]] = {}
    for which, one in hits:
        for name, hit in one.items():
            counts.setdefault((which, name), []).append(hit)
    for (which, name), all_hits in counts.items():
        share = intervals.proportion(sum(all_hits), len(all_hits))
        print(f"{which:18} {name:40} {share.value:.3f} ({share.low:.3f} to {share.high:.3f})")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=300)
    report(rows(codec.load("embedded", num_codebooks=4), parser.parse_args().clips))
