"""How well audio fits its caption by CLAP (Wu et al., 2023): cosine of text and audio, paired by id.

A clip's cosine is the mean over its windows. A shuffled caption is another text, drawn by seed. Retrieval ranks the matching
caption among the different texts of the set; ties count against it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from musicgen_lite.clap import Clap
from musicgen_lite.errors import UserError
from musicgen_lite.scoring.audio.contrast import contrast, unit
from musicgen_lite.scoring.audio.embeddings import Embeddings
from musicgen_lite.scoring.statistics import intervals
from musicgen_lite.scoring.statistics.intervals import Bootstrap, Estimate
from musicgen_lite.scoring.statistics.pairing import check_same
from musicgen_lite.scoring.statistics.scores import Scores

RANKS = (1, 10)


@dataclass(frozen=True)
class TextSpace:
    """Captions by id in a CLAP's space, embedded once: `vectors` `[n, D]`, l2-normalised, in the order of sorted ids."""

    fingerprint: str
    captions: dict[str, str]
    vectors: np.ndarray

    @property
    def ids(self) -> list[str]:
        """Sorted ids, the order of `vectors`."""
        return list(self.captions)


def embed_captions(captions: Mapping[str, str], scorer: Clap) -> TextSpace:
    """Embed captions by id."""
    ordered = {i: captions[i] for i in sorted(captions)}
    vectors = np.asarray(scorer.embed_text(list(ordered.values())), np.float64)
    return TextSpace(scorer.fingerprint, ordered, vectors)


def cosines(text: TextSpace, audio: Embeddings) -> np.ndarray:
    """Cosine of every caption with every clip, mean over windows: `[n, n]`, rows captions, columns clips, by sorted id.

    Raises UserError where the ids differ or the embeddings were made by another model.
    """
    if text.fingerprint != audio.fingerprint:
        raise UserError(f"captions by CLAP {text.fingerprint}, audio by {audio.fingerprint}; run `dvc repro`")
    check_same(text.ids, audio.ids, f"audio embeddings by {audio.embedder}")
    return text.vectors @ audio.select(text.ids).means().T


def text_audio(text: TextSpace, audio: Embeddings, prefix: str, bootstrap: Bootstrap) -> Scores:
    """Matching caption, shuffled caption, their paired difference, R@1 and R@10, as `{prefix}`, `{prefix}_shuffled`, …"""
    similarity = cosines(text, audio)
    scores = contrast(similarity, text.captions, "caption", prefix, bootstrap)
    ranks, texts = _ranks(similarity, list(text.captions.values()))
    scores.tables[prefix]["rank"] = ranks
    for k in RANKS:
        if k < texts:
            scores.add({f"{prefix}_r{k}": intervals.proportion(int((ranks <= k).sum()), len(ranks))})
        else:
            scores.notes[f"{prefix}_r{k}"] = f"withheld: among {texts} captions every one is in the first {k}"
    if texts < len(ranks):
        scores.notes[f"{prefix}_captions"] = f"{texts} different captions of {len(ranks)} clips"
    return scores


def _ranks(similarity: np.ndarray, captions: Sequence[str]) -> tuple[np.ndarray, int]:
    """The rank of each clip's matching caption among the different ones, `[n]` from 1, and their number."""
    _, first, label = np.unique(captions, return_index=True, return_inverse=True)
    reached = similarity[first] >= np.diag(similarity)[None]
    reached[label, np.arange(len(label))] = True
    return reached.sum(axis=0), len(first)


def candidate_id(clip: str, index: int) -> str:
    """The id of one of several candidates for a prompt."""
    return f"{clip}#{index}"


def of_candidates(text: TextSpace, candidates: Embeddings, count: int) -> np.ndarray:
    """Cosine of each prompt with each of its `count` candidates: `[n, count]`, prompts by sorted id."""
    expected = [candidate_id(clip, k) for clip in text.ids for k in range(count)]
    check_same(expected, candidates.ids, f"candidates embedded by {candidates.embedder}")
    means = candidates.select(expected).means().reshape(len(text.ids), count, -1)
    return np.einsum("nd,nkd->nk", text.vectors, means)


def reranking(values: np.ndarray, picked: np.ndarray, prefix: str, bootstrap: Bootstrap) -> dict[str, Estimate]:
    """The best-of-N gain by the scores `[n, N]` of one CLAP: the first candidate, a random one, and picked over random.

    A random candidate is given by its expectation, the mean over the candidates; a single one has no gain. Only a held-out CLAP, which did not pick,
    gives unbiased scores.
    """
    best = values[np.arange(len(values)), picked]
    random = values.mean(axis=1)
    first = {f"{prefix}_first": intervals.mean(values[:, 0], bootstrap)}
    if values.shape[1] == 1:
        return first
    return first | {
        f"{prefix}_random": intervals.mean(random, bootstrap),
        f"{prefix}_picked_over_random": intervals.mean(best - random, bootstrap),
    }


def diversity(text: TextSpace, candidates: Embeddings, count: int) -> np.ndarray:
    """1 - cosine between the candidates of each prompt, mean over their pairs: `[n]` by sorted id. 0: all alike."""
    expected = [candidate_id(clip, k) for clip in text.ids for k in range(count)]
    vectors = unit(candidates.select(expected).means()).reshape(len(text.ids), count, -1)
    pairs = np.triu_indices(count, 1)
    similarity = np.einsum("nid,njd->nij", vectors, vectors)[:, pairs[0], pairs[1]]
    return np.asarray(1 - similarity.mean(axis=1))
