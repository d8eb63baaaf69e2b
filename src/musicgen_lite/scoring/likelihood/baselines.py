"""Models of tokens without training that every language model has to beat: uniform, unigram, interpolated bigram, copy.

Counts are kept per codebook. The bigram looks at the previous frame of the same codebook; the first frame of a clip has
none and falls back on the unigram. Interpolation follows Jelinek and Mercer (1980), one weight per codebook. The copy of
the clip's own past (`copying`) is mixed with the bigram in the same way.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from musicgen_lite.errors import UserError
from musicgen_lite.scoring.likelihood.copying import Copy, longest_lag

CLIPS_AT_ONCE = 256
BISECTIONS = 50
# The copy's weights change its beliefs, and these its weights: so often they are fitted in turn.
COPY_ROUNDS = 3
COPY_CLIPS = 128
NAMES = ("uniform", "unigram", "bigram", "copy")


@dataclass(frozen=True)
class Baselines:
    """Log-probabilities and counts from the training split.

    unigram: float64 `[N_q, K]`, add-one smoothed; pairs: int32 `[N_q, K, K]`, times that code j followed code i;
    followed: `[N_q, K]`, times that any code followed code i; weights: `[N_q]`, share of the bigram in the mixture;
    copy: the copy of the clip's own past, which takes the place of the bigram by weights of its own.
    """

    unigram: np.ndarray
    pairs: np.ndarray
    followed: np.ndarray
    weights: np.ndarray
    copy: Copy

    def nll(self, clips: Iterable[np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
        """Nats per cell of each clip of codes `[N_q, T]` under each of `NAMES`: float64 `[N_q, T]`."""
        rest = iter(clips)
        while batch := [_as_codes(codes, *self.unigram.shape) for codes in islice(rest, CLIPS_AT_ONCE)]:
            counted = [self._counted(codes) for codes in batch]
            copied = self.copy.nll(batch, [np.exp(-one["bigram"]) for one in counted])
            yield from ({**one, "copy": copy} for one, copy in zip(counted, copied, strict=True))

    def _counted(self, codes: np.ndarray) -> dict[str, np.ndarray]:
        """Nats per cell of one clip under the baselines that count."""
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

    The likelihood of the validation split is concave in a weight: its derivative is bisected to the maximum. The copy's
    are fitted on at most `COPY_CLIPS` of its clips. Raises UserError for an empty split or a code that is not below
    `codebook_size`.
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
    start = Copy(np.full(num_codebooks, 0.5), longest_lag(max(codes.shape[1] for codes in held_out)))
    counted = Baselines(unigram, pairs, followed, _weights(bigram, single), start)
    chosen = held_out[:: -(-len(held_out) // COPY_CLIPS)]
    return replace(counted, copy=_fit_copy(start, chosen, [np.exp(-counted._counted(c)["bigram"]) for c in chosen]))


def _fit_copy(copy: Copy, clips: Sequence[np.ndarray], bigram: Sequence[np.ndarray]) -> Copy:
    """The copy with weights fitted on these clips, given the bigram's probabilities of their codes; the best of all rounds.

    With the beliefs held, the likelihood is concave in a weight, as that of the bigram's is.
    """
    tried = []
    base = np.concatenate(bigram, axis=1)
    for _ in range(COPY_ROUNDS):
        copied = np.concatenate(list(copy.probabilities(clips, bigram)), axis=1)
        weights = copy.weights[:, None]
        tried.append((-np.log(weights * copied + (1 - weights) * base).sum(), copy))
        copy = replace(copy, weights=_weights(copied, base))
    return min(tried, key=lambda one: one[0])[1]


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


def _weights(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The share `[N_q]` of the first in the mixture of two that is likeliest; both are probabilities `[N_q, T]` of codes."""
    return np.array([_weight(*both) for both in zip(first, second, strict=True)])


def _weight(first: np.ndarray, second: np.ndarray) -> float:
    low, high = 0.0, 1.0
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        slope = np.sum((first - second) / (middle * first + (1 - middle) * second))
        low, high = (middle, high) if slope > 0 else (low, middle)
    # The lower end is below 1: a token that never followed another keeps a probability above 0.
    return low
