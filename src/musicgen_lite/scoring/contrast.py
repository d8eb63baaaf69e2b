"""Own against another's: how much nearer audio is to what it was made from than to what another was made from."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from musicgen_lite.scoring import intervals
from musicgen_lite.scoring.embeddings import Embeddings
from musicgen_lite.scoring.pairing import check_same, derangement
from musicgen_lite.scoring.summary import Scores


def contrast(similarity: np.ndarray, ids: Sequence[str], prefix: str, bootstrap: int, seed: int) -> Scores:
    """Similarities `[n, n]` of clips (columns) to what belongs to each id (rows), both by sorted id.

    Estimates: `{prefix}` to the own, `{prefix}_shuffled` to another's from a seeded derangement, and `{prefix}_gain`,
    their paired difference. The table `{prefix}` has a row a clip.
    """
    own = np.diag(similarity)
    wrong = similarity[derangement(len(ids), seed), np.arange(len(ids))]
    scores = Scores(tables={prefix: pd.DataFrame({"id": list(ids), "own": own, "shuffled": wrong})})
    for name, values in (("", own), ("_shuffled", wrong), ("_gain", own - wrong)):
        scores.add({f"{prefix}{name}": intervals.mean(values, bootstrap, seed)})
    return scores


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows `[n, D]` at length 1, so that their products are cosines; a row of zeros stays as it is."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1.0)


def likeness_to_prompts(clips: Embeddings, prompts: Embeddings, prefix: str, bootstrap: int, seed: int) -> Scores:
    """Cosine of clips to their audio prompts in one embedder's space, paired by id; the prompt is not part of the clip."""
    if clips.fingerprint != prompts.fingerprint:
        raise ValueError(f"clips by {clips.fingerprint}, prompts by {prompts.fingerprint}: not one space")
    check_same(clips.ids, prompts.ids, "audio prompts")
    ids = sorted(clips.ids)
    heard, made = (unit(one.select(ids).means()) for one in (prompts, clips))
    return contrast(heard @ made.T, ids, prefix, bootstrap, seed)
