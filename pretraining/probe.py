"""A linear probe (Alain & Bengio 2016, arXiv:1610.01644): what can be read from embeddings by a linear map."""

from collections.abc import Sequence

import numpy as np

from musicgen_lite.sources.synthetic import words

_ROUND = tuple(
    phrase.lower()
    for table in (words.ROUND_GENRES, words.ROUND_TEMPO_WORDS, words.ROUND_TEMPO_CLAUSES)
    for phrases in table.values()
    for phrase in phrases
)


def is_plain(caption: str) -> bool:
    """Whether a caption goes round neither the genre's name nor the usual words for its tempo."""
    text = caption.lower()
    return not any(phrase in text for phrase in _ROUND)


def accuracy(
    known: np.ndarray, labels: Sequence[str], asked: np.ndarray, truth: Sequence[str], ridge: float = 1e-2
) -> float:
    """Share of `asked` `[M, D]` whose label a ridge regression fitted to `known` `[N, D]` and `labels` gives right.

    Columns are standardised by `known`; `ridge` is in units of N.
    """
    centre, scale = known.mean(axis=0), known.std(axis=0) + 1e-8
    inputs, asked = (known - centre) / scale, (asked - centre) / scale
    names = sorted(set(labels))
    wanted = np.array([[label == name for name in names] for label in labels], dtype=np.float64)
    gram = inputs.T @ inputs + ridge * len(inputs) * np.eye(inputs.shape[1])
    weights = np.linalg.solve(gram, inputs.T @ (wanted - wanted.mean(axis=0)))
    guesses = (asked @ weights + wanted.mean(axis=0)).argmax(axis=1)
    return float(np.mean([names[guess] == name for guess, name in zip(guesses, truth, strict=True)]))
