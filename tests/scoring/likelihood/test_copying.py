"""The copy of a clip's own past: finds the lag of what repeats, costs little where nothing does, and never looks ahead."""

import itertools

import numpy as np
import pytest

from musicgen_lite.scoring.likelihood import baselines, copying
from musicgen_lite.scoring.likelihood.copying import MIN_LAG, NO_LAG, SWITCH, Copy

K = 64


def repeating(rng: np.random.Generator, n: int, frames: int = 120) -> tuple[list[np.ndarray], list[int]]:
    """Random codes of four codebooks that repeat exactly, each clip at a lag of its own; and the lags."""
    lags = rng.integers(20, 50, n).tolist()
    return [np.tile(rng.integers(0, K, (4, lag)), 6)[:, :frames] for lag in lags], lags


def random_codes(rng: np.random.Generator, n: int, frames: int = 120) -> list[np.ndarray]:
    return list(rng.integers(0, K, (n, 4, frames)))


def uniform(clips: list[np.ndarray]) -> list[np.ndarray]:
    return [np.full(codes.shape, 1 / K) for codes in clips]


def by_hand(codes: np.ndarray, base: np.ndarray, weights: np.ndarray, longest: int) -> np.ndarray:
    """Bayes' rule hypothesis by hypothesis, cell by cell."""
    lags = range(MIN_LAG, longest + 1)
    prior = {0: NO_LAG, **{lag: (1 - NO_LAG) / len(lags) for lag in lags}}
    belief, nll = dict(prior), np.zeros(codes.shape)
    for t in range(codes.shape[1]):
        if t >= MIN_LAG:
            belief = {lag: (1 - SWITCH) * value + SWITCH * prior[lag] for lag, value in belief.items()}
        for q in range(len(codes)):
            given = dict.fromkeys(belief, base[q, t])
            for lag in lags:
                if lag <= t:
                    same = codes[q, t - lag] == codes[q, t]
                    given[lag] = weights[q] * same + (1 - weights[q]) * base[q, t]
            total = sum(belief[lag] * given[lag] for lag in belief)
            nll[q, t] = -np.log(total)
            belief = {lag: belief[lag] * given[lag] / total for lag in belief}
    return nll


def test_each_cell_is_bayes_rule_over_lags(rng: np.random.Generator) -> None:
    codes, base = rng.integers(0, 3, (2, 30)), rng.uniform(0.05, 0.6, (2, 30))
    copy = Copy(np.array([0.7, 0.2]), 12)
    (nll,) = copy.nll([codes], [base])
    np.testing.assert_allclose(nll, by_hand(codes, base, copy.weights, 12), rtol=1e-12)


def test_what_repeats_is_predicted_after_its_first_period(rng: np.random.Generator) -> None:
    train, _ = repeating(rng, 8)
    clips, lags = repeating(rng, 20)
    fitted = baselines.fit(train, repeating(rng, 8)[0], 4, K)
    assert (fitted.copy.weights > 0.99).all()
    later = []
    for lag, nll in zip(lags, fitted.nll(clips), strict=True):
        fresh = slice(MIN_LAG, lag)
        assert nll["copy"][:, fresh].mean() == pytest.approx(nll["bigram"][:, fresh].mean(), rel=0.05)
        later.append(nll["copy"][:, lag + 5 :])
    # Codebook 1 has to find the lag again where beliefs were dealt anew; the others follow it.
    found = np.concatenate(later, axis=1).mean(axis=1)
    expected = -np.log(1 - SWITCH) * np.array([1, 0, 0, 0])
    np.testing.assert_allclose(found, expected, atol=0.02)


def test_codes_without_repeats_cost_no_more_than_a_path_without_a_lag(rng: np.random.Generator) -> None:
    clips = random_codes(rng, 20)
    staying = 1 - SWITCH * (1 - NO_LAG)
    bound = -np.log(NO_LAG) - (120 - MIN_LAG) * np.log(staying)
    for nll, base in zip(Copy(np.full(4, 0.5), 119).nll(clips, uniform(clips)), uniform(clips), strict=True):
        assert nll.sum() + np.log(base).sum() < bound
    fitted = baselines.fit(random_codes(rng, 20), random_codes(rng, 20), 4, K)
    assert (fitted.copy.weights < 0.02).all()
    cells = [{name: one[name].sum() for name in ("copy", "bigram")} for one in fitted.nll(clips)]
    copied, bigram = (sum(one[name] for one in cells) for name in ("copy", "bigram"))
    assert copied < 1.001 * bigram


def test_the_probabilities_of_each_cell_add_up_to_one(rng: np.random.Generator) -> None:
    codes = np.tile(rng.integers(0, 5, (2, 7)), 3)
    probabilities = rng.dirichlet(np.ones(5), (2, codes.shape[1]))
    copy = Copy(np.array([0.8, 0.4]), 10)
    for q, t in itertools.product(range(2), (0, 4, 5, 9, 20)):
        total = 0.0
        for code in range(5):
            codes[q, t] = code
            base = np.take_along_axis(probabilities, codes[:, :, None], axis=2)[:, :, 0]
            (nll,) = copy.nll([codes], [base])
            total += np.exp(-nll[q, t])
        assert total == pytest.approx(1)


def test_no_cell_depends_on_a_later_one(rng: np.random.Generator) -> None:
    fitted = baselines.fit(repeating(rng, 4)[0], repeating(rng, 4)[0], 4, K)
    codes = repeating(rng, 1)[0][0]
    whole = next(fitted.nll([codes]))["copy"]
    for q, t in ((0, 0), (2, 40), (3, 90)):
        changed = codes.copy()
        changed[q, t] = (codes[q, t] + 1) % K
        nll = next(fitted.nll([changed]))["copy"]
        np.testing.assert_array_equal(nll[:, :t], whole[:, :t])
        np.testing.assert_array_equal(nll[:q, t], whole[:q, t])
        assert nll[q, t] != whole[q, t]
        np.testing.assert_allclose(next(fitted.nll([codes[:, : t + 1]]))["copy"], whole[:, : t + 1], rtol=1e-12)


def test_clips_of_unequal_length_score_as_each_by_itself(
    monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    fitted = baselines.fit(repeating(rng, 4)[0], repeating(rng, 4)[0], 4, K)
    clips = [codes[:, :length] for codes, length in zip(repeating(rng, 5)[0], (120, 3, 77, 1, 119), strict=True)]
    alone = [next(fitted.nll([codes]))["copy"] for codes in clips]
    monkeypatch.setattr(copying, "CLIPS_AT_ONCE", 2)
    monkeypatch.setattr(baselines, "CLIPS_AT_ONCE", 3)
    for one, together, codes in zip(alone, fitted.nll(iter(clips)), clips, strict=True):
        assert together["copy"].shape == codes.shape
        np.testing.assert_allclose(together["copy"], one, rtol=1e-12)


def test_the_fitted_weights_are_near_the_likeliest(rng: np.random.Generator) -> None:
    """Codes that repeat with a fault in a part of the cells, another part in each codebook."""
    clips = repeating(rng, 24)[0]
    for codes in clips:
        faulty = rng.random(codes.shape) < np.array([0.1, 0.3, 0.5, 0.7])[:, None]
        codes[faulty] = rng.integers(0, K, faulty.sum())
    fitted = baselines.fit(random_codes(rng, 8), clips, 4, K).copy
    assert (np.diff(fitted.weights) < 0).all()

    def total(weights: np.ndarray) -> float:
        return sum(float(nll.sum()) for nll in Copy(weights, fitted.longest).nll(clips, uniform(clips)))

    best = total(fitted.weights)
    for q, factor in itertools.product(range(4), (0.6, 0.8, 1.2, 1.4)):
        other = fitted.weights.copy()
        other[q] = min(0.999, other[q] * factor)
        assert total(other) > best - 0.002 * best


def test_clips_shorter_than_the_shortest_lag_are_left_to_the_bigram(rng: np.random.Generator) -> None:
    short = random_codes(rng, 4, frames=MIN_LAG)
    nll = next(baselines.fit(short, short, 4, K).nll(short))
    np.testing.assert_allclose(nll["copy"], nll["bigram"])
