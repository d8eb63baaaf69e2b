"""The best of several candidates, by any score."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

Candidate = TypeVar("Candidate")


@dataclass(frozen=True)
class Ranking:
    """picked: `[P]`, the index among the N candidates of each prompt; scores: `[P, N]`, NaN where none was given."""

    picked: np.ndarray
    scores: np.ndarray


def best_of(
    candidates: Sequence[Candidate],
    per_prompt: int,
    score: Callable[[Sequence[Candidate], Sequence[int]], Sequence[float] | np.ndarray],
) -> Ranking:
    """Pick the candidate with the highest score for each prompt; all scores are kept.

    candidates: `per_prompt` of the first prompt, then those of the second, and so on. `score` takes all candidates and
    the index of each one's prompt, and returns one score each. A NaN is never picked over a number; of equal scores
    the first is picked. ValueError if the counts do not fit.
    """
    if per_prompt < 1 or len(candidates) % per_prompt:
        raise ValueError(f"{len(candidates)} candidates are not a multiple of {per_prompt} per prompt")
    owners = [i // per_prompt for i in range(len(candidates))]
    scores = np.asarray(score(candidates, owners), dtype=np.float64)
    if scores.shape != (len(candidates),):
        raise ValueError(f"{len(candidates)} candidates, but scores of shape {scores.shape}")
    scores = scores.reshape(-1, per_prompt)
    return Ranking(np.where(np.isnan(scores), -np.inf, scores).argmax(axis=1), scores)
