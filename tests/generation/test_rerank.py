from collections.abc import Sequence

import numpy as np
import pytest

from musicgen_lite.generation import best_of


def test_the_highest_score_of_each_prompt_is_picked_and_all_are_kept() -> None:
    seen: list[Sequence[int]] = []

    def length(candidates: Sequence[str], owners: Sequence[int]) -> list[float]:
        seen.append(owners)
        return [float(len(candidate)) for candidate in candidates]

    ranking = best_of(["a", "abc", "ab", "abcd", "a", "abcd"], 3, length)
    assert ranking.picked.tolist() == [1, 0]
    assert ranking.scores.tolist() == [[1, 3, 2], [4, 1, 4]]
    assert seen == [[0, 0, 0, 1, 1, 1]]


def test_nan_is_never_picked_over_a_number() -> None:
    ranking = best_of(range(4), 2, lambda candidates, owners: [np.nan, -5.0, np.nan, np.nan])
    assert ranking.picked.tolist() == [1, 0]
    assert np.isnan(ranking.scores[1]).all()


def test_counts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="not a multiple of 2"):
        best_of(range(3), 2, lambda candidates, owners: [0.0] * 3)
    with pytest.raises(ValueError, match="scores of shape"):
        best_of(range(4), 2, lambda candidates, owners: [0.0] * 3)
