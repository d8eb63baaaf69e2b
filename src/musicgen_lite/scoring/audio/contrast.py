"""Matching against shuffled: how much more similar audio is to its own condition than to that of another clip."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from musicgen_lite.scoring.audio.embeddings import Embeddings
from musicgen_lite.scoring.statistics import intervals
from musicgen_lite.scoring.statistics.intervals import Bootstrap
from musicgen_lite.scoring.statistics.pairing import check_same, strangers, withheld
from musicgen_lite.scoring.statistics.scores import Scores


def contrast(similarity: np.ndarray, groups: Mapping[str, str], what: str, prefix: str, bootstrap: Bootstrap) -> Scores:
    """Similarities `[n, n]` of clips (columns) to what belongs to each id (rows), both by sorted id.

    groups: by sorted id, which clips belong together because they share `what`, a caption or a track; the shuffled
    condition is one of another group. Estimates: `{prefix}` with the matching condition, `{prefix}_shuffled`, and
    `{prefix}_gain`, their paired difference; the latter two are withheld where there is only one group. The table `{prefix}`
    has one row per clip.
    """
    own, partner = np.diag(similarity), strangers(list(groups.values()), bootstrap.seed)
    scores = Scores(tables={prefix: pd.DataFrame({"id": list(groups), "own": own})})
    scores.add({prefix: intervals.mean(own, bootstrap)})
    if partner is None:
        scores.notes |= dict.fromkeys((f"{prefix}_shuffled", f"{prefix}_gain"), withheld(what, len(own)))
        return scores
    wrong = similarity[partner, np.arange(len(own))]
    scores.tables[prefix]["shuffled"] = wrong
    for name, values in (("_shuffled", wrong), ("_gain", own - wrong)):
        scores.add({f"{prefix}{name}": intervals.mean(values, bootstrap)})
    return scores


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows `[n, D]` at length 1, so that their products are cosines; a row of zeros stays as it is."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1.0)


def likeness_to_prompts(
    clips: Embeddings, prompts: Embeddings, tracks: Mapping[str, str], prefix: str, bootstrap: Bootstrap
) -> Scores:
    """Cosine of clips and their audio prompts in one embedder's space, paired by id; the prompt is not part of the clip.

    tracks: the track of each id; a shuffled prompt is one of another track.
    """
    if clips.fingerprint != prompts.fingerprint:
        raise ValueError(f"clips by {clips.fingerprint}, prompts by {prompts.fingerprint}: not one space")
    check_same(clips.ids, prompts.ids, "audio prompts")
    ids = sorted(clips.ids)
    of_prompts, of_clips = (unit(one.select(ids).means()) for one in (prompts, clips))
    return contrast(of_prompts @ of_clips.T, {clip: tracks[clip] for clip in ids}, "track", prefix, bootstrap)
