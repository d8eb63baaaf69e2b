"""A baseline that copies: what the clip's own past says of its next codes, by itself and without any training.

Music returns at lags of its own: a bar, a loop, a phrase. Which lag a clip has is not told but inferred as it goes on: at
each cell a belief over "no lag" and the lags from `MIN_LAG` on, by Bayes' rule from how well each lag predicted all
earlier cells, frame by frame and codebook by codebook. Beliefs move: before each frame a share `SWITCH` is dealt anew
from the prior (fixed share, Herbster and Warmuth 1998), since a lag may hold for one part of a clip only.

The prediction is w * copy + (1 - w) * bigram, with one w per codebook. The copy is the mixture of the codes at all lags
by belief; where no lag is believed it is the bigram. So it sums to 1 over the codes, and no cell depends on later ones.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

MIN_LAG = 5  # frames; what is nearer is mostly a held note, which the bigram knows
MAX_LAG = 1500
# Chosen on the validation clips of the default run, where a half or twice of each costs less than 0.01 nats a token.
NO_LAG = 0.2
SWITCH = 0.1
CLIPS_AT_ONCE = 32


@dataclass(frozen=True)
class Copy:
    """weights: `[N_q]`, share of the copy in the mixture; longest: the longest lag in frames."""

    weights: np.ndarray
    longest: int

    def nll(self, clips: Sequence[np.ndarray], bigram: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
        """Nats per cell `[N_q, T]` of each clip of codes `[N_q, T]`, given the bigram's probabilities of them `[N_q, T]`."""
        weights = self.weights[:, None]
        for copied, base in zip(self.probabilities(clips, bigram), bigram, strict=True):
            yield -np.log(weights * copied + (1 - weights) * base)

    def probabilities(self, clips: Sequence[np.ndarray], bigram: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
        """What the copy alone gives to each code: `[N_q, T]` of each clip."""
        for start in range(0, len(clips), CLIPS_AT_ONCE):
            chosen = slice(start, start + CLIPS_AT_ONCE)
            found = _copied(_padded(clips[chosen], 0), _padded(bigram[chosen], 1.0), self.weights, self.longest)
            for row, codes in zip(found, clips[chosen], strict=True):
                yield row[:, : codes.shape[1]]


def longest_lag(frames: int) -> int:
    """The longest lag that is looked for where clips have so many frames."""
    return max(MIN_LAG, min(frames - 1, MAX_LAG))


def _padded(arrays: Sequence[np.ndarray], value: float) -> np.ndarray:
    """`[B, N_q, T]` from `[N_q, T_i]`; no cell sees what comes after it, so that padding at the end changes nothing."""
    frames = max(one.shape[1] for one in arrays)
    return np.stack([np.pad(one, ((0, 0), (0, frames - one.shape[1])), constant_values=value) for one in arrays])


def _copied(codes: np.ndarray, bigram: np.ndarray, weights: np.ndarray, longest: int) -> np.ndarray:
    """Probability `[B, N_q, T]` of each code under the copy, for codes and the bigram's probabilities of that shape."""
    clips, count, frames = codes.shape
    lags = longest - MIN_LAG + 1
    prior = np.array([NO_LAG, *[(1 - NO_LAG) / lags] * lags])
    belief = np.tile(prior, (clips, 1))
    copied = bigram.copy()
    for t in range(MIN_LAG, frames):
        belief += SWITCH * (prior - belief)
        past = codes[:, :, max(0, t - longest) : t - MIN_LAG + 1][:, :, ::-1]
        within, beyond = belief[:, 1 : past.shape[2] + 1], belief[:, past.shape[2] + 1 :]
        for q in range(count):
            base, weight = bigram[:, q, t], weights[q]
            pointing = np.where(past[:, q] == codes[:, q, t, None], within, 0)
            # Lags that begin before the clip say nothing: they predict as no lag does.
            copied[:, q, t] = pointing.sum(axis=1) + (belief[:, 0] + beyond.sum(axis=1)) * base
            seen = weight * pointing + (1 - weight) * base[:, None] * within
            belief *= base[:, None]
            within[:] = seen
            belief /= belief.sum(axis=1, keepdims=True)
    return copied
