"""Count models of tokens that every language model has to beat: uniform, unigram, and interpolated bigram.

Counts are kept per codebook. The bigram looks at the previous frame of the same codebook; the first frame of a clip has
none and falls back on the unigram. Interpolation follows Jelinek and Mercer (1980), one weight per codebook.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from musicgen_lite.errors import UserError

CLIPS_AT_ONCE = 256
BISECTIONS = 50
NAMES = ("uniform", "unigram", "bigram")


@dataclass(frozen=True)
class Baselines:
    """Log-probabilities and counts from the training split.

    unigram: float64 `[N_q, K]`, add-one smoothed; pairs: int32 `[N_q, K, K]`, times that code j followed code i;
    followed: `[N_q, K]`, times that any code followed code i; weights: `[N_q]`, share of the bigram in the mixture.
    """

    unigram: np.ndarray
    pairs: np.ndarray
    followed: np.ndarray
    weights: np.ndarray

    def nll(self, codes: np.ndarray) -> dict[str, np.ndarray]:
        """Nats per cell of codes `[N_q, T]` under each of `NAMES`: float64 `[N_q, T]`."""
        codes = _as_codes(codes, *self.unigram.shape)
        unigram = np.take_along_axis(self.unigram, codes, axis=1)
        mixed = np.exp(unigram)
        bigram = _bigram(self.pairs, self.followed, self.unigram, codes)
        mixed[:, 1:] = self.weights[:, None] * bigram + (1 - self.weights[:, None]) * mixed[:, 1:]
        uniform = np.full(codes.shape, np.log(self.unigram.shape[1]))
        return {"uniform": uniform, "unigram": -unigram, "bigram": -np.log(mixed)}


def fit(
    train: Iterable[np.ndarray], validation: Iterable[np.ndarray], num_codebooks: int, codebook_size: int
) -> Baselines:
    """Count over the training clips, each `[N_q, T]`; fit the weights on the validation clips.

    The likelihood of the validation split is concave in a weight: its derivative is bisected to the maximum. Raises
    UserError for an empty split or a code that is not below `codebook_size`.
    """
    shape = (num_codebooks, codebook_size)
    singles = np.zeros(shape, dtype=np.int64)
    pairs = np.zeros((*shape, codebook_size), dtype=np.int32)
    batch: list[np.ndarray] = []

    def count() -> None:
        for q in range(num_codebooks if batch else 0):
            singles[q] += np.bincount(np.concatenate([codes[q] for codes in batch]), minlength=codebook_size)
            steps = np.concatenate([codes[q, :-1] * codebook_size + codes[q, 1:] for codes in batch])
            pairs[q] += np.bincount(steps, minlength=codebook_size**2).reshape(codebook_size, -1).astype(np.int32)
        batch.clear()

    for codes in train:
        batch.append(_as_codes(codes, *shape))
        if len(batch) == CLIPS_AT_ONCE:
            count()
    count()
    if not singles.any():
        raise UserError("the training split holds no codes: the unigram and bigram baselines need some")
    unigram = np.log((singles + 1) / (singles.sum(axis=1, keepdims=True) + codebook_size))
    followed = pairs.sum(axis=2, dtype=np.int64)
    held_out = [_as_codes(codes, *shape) for codes in validation]
    if not held_out:
        raise UserError("the validation split holds no codes: the bigram's weight is fitted on it")
    bigram = np.concatenate([_bigram(pairs, followed, unigram, codes) for codes in held_out], axis=1)
    single = np.exp(np.concatenate([np.take_along_axis(unigram, codes[:, 1:], axis=1) for codes in held_out], axis=1))
    return Baselines(unigram, pairs, followed, np.array([_weight(b, u) for b, u in zip(bigram, single, strict=True)]))


def _as_codes(codes: np.ndarray, num_codebooks: int, codebook_size: int) -> np.ndarray:
    codes = np.asarray(codes, dtype=np.int64)
    fits = codes.ndim == 2 and len(codes) == num_codebooks
    if not fits or (codes.size and not 0 <= codes.min() <= codes.max() < codebook_size):
        found = f"{codes.min()} to {codes.max()}" if codes.size else "none"
        raise UserError(
            f"codes of shape {codes.shape} from {found} do not fit {num_codebooks} codebooks of {codebook_size}; "
            "they come from another codec: run `dvc repro`"
        )
    return codes


def _bigram(pairs: np.ndarray, followed: np.ndarray, unigram: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Relative frequency `[N_q, T - 1]` of each code after the one before it; the unigram after a code never seen."""
    q = np.arange(len(codes))[:, None]
    before, after = codes[:, :-1], codes[:, 1:]
    times = followed[q, before]
    return np.where(times > 0, pairs[q, before, after] / np.maximum(times, 1), np.exp(unigram[q, after]))


def _weight(bigram: np.ndarray, unigram: np.ndarray) -> float:
    low, high = 0.0, 1.0
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        slope = np.sum((bigram - unigram) / (middle * bigram + (1 - middle) * unigram))
        low, high = (middle, high) if slope > 0 else (low, middle)
    # The lower end is below 1: a token that never followed another keeps a probability above 0.
    return low
