"""The distance of sets of audio to a reference set: FAD and KAD in one embedder's space, with intervals.

One half of the test tracks is the reference; the clips of the other half are taken as they are, through the codec, as
generated, and as noise. These sets have the same ids and length. FAD is biased upwards at small n, equally for sets of the
same n: compare within a table, never across. KAD has no such bias.
"""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from musicgen_lite.errors import UserError
from musicgen_lite.io import audio
from musicgen_lite.scoring.audio import fad, kad
from musicgen_lite.scoring.audio.embeddings import Embeddings
from musicgen_lite.scoring.audio.fad import ClipRows, Moments
from musicgen_lite.scoring.audio.statistics_file import Statistics
from musicgen_lite.scoring.metrics import titles
from musicgen_lite.scoring.statistics import intervals
from musicgen_lite.scoring.statistics.intervals import Bootstrap, Estimate
from musicgen_lite.scoring.statistics.pairing import check_same
from musicgen_lite.scoring.statistics.scores import Scores

# The spaces of the protocols that estimate in ways of their own.
FADTK, KADTK = "clap_fadtk", "clap_kadtk"
Measure = Callable[[ClipRows, list[ClipRows], Bootstrap], tuple[np.ndarray, np.ndarray]]
"""A distance of each set to the reference `[S]`, and in each resample of clips `[B, S]`."""


def _measures(space: str) -> dict[str, Measure]:
    """The distances that are measured in a space, by title; those of a protocol as its tool has them."""
    known: dict[str, Measure] = {
        "fad": fad.distances, "kad": kad.kadtk_distances if space == KADTK else kad.distances,
    }  # fmt: skip
    return {title: known[title] for title in titles(space) if title in known}


def audio_distances(reference: Embeddings, sets: Mapping[str, Embeddings], bootstrap: Bootstrap) -> Scores:
    """FAD and KAD of each set to the reference, and the paired difference of each set to every nearer one.

    `sets` are given from near to far (real, reconstruction, generated, noise): where
    `{space}_fad_generated_over_reconstruction` is above 0, the two are in order. Clips are resampled; the reference is
    drawn independently of the sets, and all sets alike. The interval of FAD is for FAD at this n; the notes hold the basic
    interval too, which aims at n → infinity and is right from n = 2 d on. The table `{space}_clips` has the FAD of each
    clip, to rank clips by. The space of another tool's protocol has the distances that `metrics.titles` says.

    Raises UserError where a set has another embedder, other ids or another length, or shares clips with the reference.
    """
    _check(reference, sets)
    names = list(sets)
    ids = sorted(sets[names[0]].ids)
    base = reference.select(sorted(reference.ids)).clips
    clips = [sets[name].select(ids).clips for name in names]
    space, n = reference.embedder, len(ids)
    scores = Scores()
    notes: dict[str, dict[str, object]] = {
        name: {"silent": list(sets[name].silent), "digest": sets[name].digest} for name in names
    }
    for title, measure in _measures(space).items():
        values, draws = measure(base, clips, bootstrap)
        for i, name in enumerate(names):
            scores.add({f"{space}_{title}_{name}": _estimate(title, values[i], draws[:, i], n)})
            scores.draws[f"{space}_{title}_{name}"] = draws[:, i]
        for near, far in itertools.combinations(range(len(names)), 2):
            difference = intervals.centred(values[far] - values[near], draws[:, far] - draws[:, near], n)
            scores.add({f"{space}_{title}_{names[far]}_over_{names[near]}": difference})
        if title == "fad":
            for i, name in enumerate(names):
                notes[name]["fad_basic"] = _basic_fad(values[i], draws[:, i], n)
            at = base.moments()
            alone = {f"fad_{name}": fad.per_clip(at, one) for name, one in zip(names, clips, strict=True)}
            scores.tables[f"{space}_clips"] = pd.DataFrame({"id": ids, **alone})
    for name, one in zip(names, clips, strict=True):
        notes[name] |= _add_infinity(scores, f"{space}_fad_{{}}{name}", space, base, one, bootstrap.seed)
    if titles(space):
        scores.tables[f"{space}_distances"] = _table(scores.estimates, space, names)
    scores.notes[space] = {
        "embedder": reference.embedder, "fingerprint": reference.fingerprint, "dim": reference.rows.shape[1],
        "reference": {"n": reference.clips.n, "digest": reference.digest, "silent": list(reference.silent)},
        "seconds": reference.seconds, "sets": notes,
    }  # fmt: skip
    if "kad" in titles(space):
        for name, one in zip(names, clips, strict=True):
            notes[name] |= {"bandwidth": kad.kadtk_bandwidth(one)} if space == KADTK else {}
        scores.notes[space] |= {} if space == KADTK else {"bandwidth": kad.bandwidth(base)}
    return scores


def _estimate(title: str, value: float, draws: np.ndarray, n: int) -> Estimate:
    """FAD is not below 0; KAD, which has no bias, may be."""
    if title == "kad":
        return intervals.basic(value, draws, n)
    estimate = intervals.centred(value, draws, n)
    return replace(estimate, low=max(estimate.low, 0.0))


def _add_infinity(
    scores: Scores, names: str, space: str, base: ClipRows | Moments, one: ClipRows, seed: int
) -> dict[str, str]:
    """Add FAD-infinity beside FAD, where the space has it; a note where it is withheld. names: of both, with `{}` for what differs."""
    if "fad_inf" not in titles(space):
        return {}
    found = _infinity(space, base, one, seed)
    if isinstance(found, str):
        return {"fad_inf": f"withheld: {found}"}
    # It varies with the sample as FAD does, so FAD's deviations serve for its interval.
    draws = scores.draws[names.format("")]
    scores.add({names.format("inf_"): intervals.centred(found, draws - draws.mean() + found, one.n)})
    return {}


def _infinity(space: str, base: ClipRows | Moments, one: ClipRows, seed: int) -> float | str:
    """FAD-infinity, or why it is withheld."""
    if space == FADTK:
        return fad.fadtk_infinity_withheld(one) or fad.fadtk_infinity(base, one, seed)
    if isinstance(base, Moments):
        return "the reference is a mean and a covariance, without clips, so that its share of the bias stays"
    return fad.infinity_withheld(base, one) or fad.infinity(base, one, seed)


def distance_to_statistics(reference: Statistics, one: Embeddings, name: str, bootstrap: Bootstrap) -> Scores:
    """FAD of a set of clips to a reference of which mean and covariance alone are known; `one` is called `name`.

    The reference is not resampled, so that its own error is no part of the interval. KAD needs its clips, and is withheld.
    """
    space, clips = one.embedder, one.select(sorted(one.ids)).clips
    value = fad.distance(reference.moments, clips.moments())
    draws = fad.replicates(reference.moments, [clips], bootstrap)[:, 0]
    scores = Scores(
        {f"{space}_fad_{name}": _estimate("fad", value, draws, clips.n)}, draws={f"{space}_fad_{name}": draws}
    )
    note = _add_infinity(scores, f"{space}_fad_{{}}{name}", space, reference.moments, clips, bootstrap.seed)
    scores.notes[f"{space}_kad_{name}"] = "withheld: the reference is a mean and a covariance, without clips"
    scores.notes[space] = {
        "embedder": space, "fingerprint": one.fingerprint, "dim": one.rows.shape[1],
        "reference": {"statistics": reference.path.name, "sha256": reference.sha256, "model": reference.model},
        "sets": {name: {"silent": list(one.silent), "digest": one.digest, **note}},
    }  # fmt: skip
    return scores


def _check(reference: Embeddings, sets: Mapping[str, Embeddings]) -> None:
    first = next(iter(sets))
    for name, one in sets.items():
        if one.fingerprint != reference.fingerprint:
            raise UserError(
                f"set {name}: embedded by {one.embedder} {one.fingerprint}, the reference by {reference.embedder} "
                f"{reference.fingerprint}; run `dvc repro` to make both anew"
            )
        # A set of short clips alone has no length that all share.
        if one.seconds and reference.seconds and abs(one.seconds - reference.seconds) > 0.02:
            raise UserError(
                f"set {name}: clips of {one.seconds:.2f} s, the reference has {reference.seconds:.2f} s; cut alike"
            )
        check_same(sets[first].ids, one.ids, f"set {name}, compared with set {first}")
        shared = set(one.ids) & set(reference.ids)
        if shared:
            raise UserError(f"set {name}: clip {min(shared)!r} is in the reference too; the halves must be disjoint")


def _basic_fad(value: float, draws: np.ndarray, n: int) -> dict[str, object]:
    corrected = intervals.basic(value, draws, n).as_dict()
    return corrected | {"value": intervals.rounded(2 * value - float(draws.mean()))}


def _table(estimates: Mapping[str, Estimate], space: str, names: list[str]) -> pd.DataFrame:
    rows = []
    for name in names:
        row: dict[str, object] = {"set": name}
        for title in _measures(space):
            one = estimates[f"{space}_{title}_{name}"]
            row |= {title: one.value, f"{title}_low": one.low, f"{title}_high": one.high, "n": one.n}
        rows.append(row)
    return pd.DataFrame(rows)


def noise_like(samples: np.ndarray, seed: int) -> np.ndarray:
    """White noise `[T]` float32 at the level of `samples`: the far end of every distance."""
    noise = np.random.default_rng(seed).standard_normal(len(samples), dtype=np.float32)
    return noise * np.float32(10 ** (audio.rms_db(samples) / 20))
