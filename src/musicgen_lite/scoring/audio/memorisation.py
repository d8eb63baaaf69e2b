"""Memorisation: whether generated audio lies nearer to the training clips than new real music does.

The nearest training clip is searched in CLAP space, for each generated clip and for the held-out real clip of the same
prompt. Real music has near neighbours too, above all in a corpus of few styles: only an excess over it is a sign of
copying (compare Carlini et al., 2023, on images).
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from musicgen_lite.errors import UserError
from musicgen_lite.scoring.audio.contrast import unit
from musicgen_lite.scoring.audio.embeddings import Embeddings
from musicgen_lite.scoring.statistics import intervals
from musicgen_lite.scoring.statistics.intervals import Bootstrap, Estimate
from musicgen_lite.scoring.statistics.pairing import check_same
from musicgen_lite.scoring.statistics.scores import Scores

QUANTILE = 0.95
AT_ONCE = 1024


def nearest(clips: Embeddings, training: Embeddings) -> tuple[np.ndarray, list[str]]:
    """Cosine `[n]` of each clip with its nearest training clip, and the ids of those.

    Raises UserError where a clip is among the training clips, or the two were embedded by different models.
    """
    if clips.fingerprint != training.fingerprint:
        raise UserError(
            f"clips embedded by {clips.fingerprint}, training clips by {training.fingerprint}; run `dvc repro`"
        )
    vectors, best, found = unit(clips.means()), np.full(len(clips.ids), -np.inf), np.zeros(len(clips.ids), dtype=int)
    others = unit(training.means())
    for start in range(0, len(others), AT_ONCE):
        cosines = vectors @ others[start : start + AT_ONCE].T
        top = cosines.argmax(axis=1)
        values = cosines[np.arange(len(top)), top]
        found, best = np.where(values > best, start + top, found), np.maximum(values, best)
    return best, [training.ids[i] for i in found]


def memorised(generated: np.ndarray, real: np.ndarray, bootstrap: Bootstrap) -> Estimate:
    """Share of generated clips that lie nearer to training clips than 95 % of the real ones; paired `[n]` each.

    Real clips have at most 0.05. Each resample has its own threshold, so that the interval includes the threshold's error.
    It is never narrower than the exact interval for a known threshold, because all resamples of a share of 0 are 0.
    """
    order, n = np.argsort(real), len(real)

    def share(counts: np.ndarray) -> np.ndarray:
        reached = counts[:, order].cumsum(axis=1) >= QUANTILE * n
        threshold = real[order][reached.argmax(axis=1)]
        return (counts * (generated[None] > threshold[:, None])).sum(axis=1) / n

    draws = np.concatenate([share(counts) for counts in intervals.resamples(n, bootstrap)])
    drawn = intervals.percentile(float(share(np.ones((1, n)))[0]), draws, n)
    exact = intervals.proportion(round(drawn.value * n), n)
    low, high = min(drawn.low, exact.low), max(drawn.high, exact.high)
    return replace(drawn, low=low, high=high, method="bootstrap percentile or exact binomial, whichever is wider")


def memorisation(generated: Embeddings, real: Embeddings, training: Embeddings, bootstrap: Bootstrap) -> Scores:
    """Nearest training clip of every generated clip, beside that of the held-out real clip of the same id.

    `nearest` and `nearest_real` are mean cosines, `nearest_over_real` their paired difference (above 0: nearer than new
    music is), `memorised` the share beyond 95 % of the real clips. The table names the clip to listen to.
    """
    check_same(real.ids, generated.ids, "generated clips, compared with held-out real clips")
    shared = set(training.ids) & set(real.ids)
    if shared:
        raise UserError(f"training clips: {min(shared)!r} is a held-out clip too; splits must be disjoint")
    ids = sorted(real.ids)
    own, own_clip = nearest(generated.select(ids), training)
    held_out, held_out_clip = nearest(real.select(ids), training)
    table = {"id": ids, "nearest": own, "clip": own_clip, "nearest_real": held_out, "clip_real": held_out_clip}
    scores = Scores(tables={"nearest": pd.DataFrame(table)})
    for name, values in (("nearest", own), ("nearest_real", held_out), ("nearest_over_real", own - held_out)):
        scores.add({name: intervals.mean(values, bootstrap)})
    scores.add({"memorised": memorised(own, held_out, bootstrap)})
    scores.notes["memorisation"] = {
        "training_clips": len(training.ids), "space": training.embedder, "fingerprint": training.fingerprint,
        "digest": training.digest, "quantile": QUANTILE,
    }  # fmt: skip
    return scores
