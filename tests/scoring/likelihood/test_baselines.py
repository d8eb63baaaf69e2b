from dataclasses import replace

import numpy as np
import pytest

from musicgen_lite.errors import UserError
from musicgen_lite.scoring.likelihood import baselines

K = 5


def clips(rng: np.random.Generator, n: int, frames: int = 40, stay: float = 0.8) -> list[np.ndarray]:
    """Markov chains of two codebooks: stay at a code, or jump to a random one."""
    out = []
    for _ in range(n):
        codes = rng.integers(0, K, (2, frames))
        for t in range(1, frames):
            same = rng.random(2) < stay
            codes[same, t] = codes[same, t - 1]
        out.append(codes)
    return out


def by_hand(train: list[np.ndarray], weights: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    unigram, bigram = np.zeros(codes.shape), np.zeros(codes.shape)
    for q in range(2):
        singles = [int(c) for clip in train for c in clip[q]]
        pairs = [(int(a), int(b)) for clip in train for a, b in zip(clip[q], clip[q][1:], strict=False)]
        for t, code in enumerate(codes[q]):
            p = (singles.count(code) + 1) / (len(singles) + K)
            unigram[q, t] = bigram[q, t] = -np.log(p)
            if t:
                before = codes[q, t - 1]
                starts = sum(a == before for a, _ in pairs)
                follow = pairs.count((before, code)) / starts if starts else p
                bigram[q, t] = -np.log(weights[q] * follow + (1 - weights[q]) * p)
    return unigram, bigram


def test_the_baselines_that_count_by_hand(rng: np.random.Generator) -> None:
    train, validation, codes = clips(rng, 3), clips(rng, 3), clips(rng, 1)[0]
    # Code 4 is never seen in training: the bigram after it is the unigram.
    train = [np.minimum(clip, 3) for clip in train]
    fitted = baselines.fit(train, validation, 2, K)
    nll = next(fitted.nll([codes]))
    unigram, bigram = by_hand(train, fitted.weights, codes)
    assert np.allclose(nll["uniform"], np.log(5))
    assert np.allclose(nll["unigram"], unigram)
    assert np.allclose(nll["bigram"], bigram)
    assert (codes == 4).any()
    assert all(np.isfinite(values).all() for values in nll.values())


def test_the_weight_has_the_best_likelihood_on_validation(rng: np.random.Generator) -> None:
    train, validation = clips(rng, 4), clips(rng, 20)
    fitted = baselines.fit(train, validation, 2, K)

    def total(weights: np.ndarray) -> np.ndarray:
        one = replace(fitted, weights=weights)
        return np.sum([nll["bigram"].sum(axis=1) for nll in one.nll(validation)], axis=0)

    best = total(fitted.weights)
    for weight in np.linspace(0, 0.999, 50):
        assert (total(np.full(2, weight)) >= best - 1e-9).all()
    assert ((fitted.weights > 0.3) & (fitted.weights < 1)).all()
    assert total(fitted.weights).sum() < 0.8 * sum(nll["unigram"].sum() for nll in fitted.nll(validation))


def test_the_probabilities_of_a_frame_add_up_to_one(rng: np.random.Generator) -> None:
    fitted = baselines.fit([np.minimum(c, 3) for c in clips(rng, 3)], clips(rng, 2), 2, K)
    for before in range(K):
        total = {name: np.zeros((2, 2)) for name in baselines.NAMES}
        for code in range(K):
            for name, nll in next(fitted.nll([np.array([[before, code]] * 2)])).items():
                total[name] += np.exp(-nll)
        assert all(np.allclose(values[:, 1], 1) for values in total.values())


def test_counting_in_batches_changes_nothing(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    train, validation = clips(rng, 7), clips(rng, 2)
    whole = baselines.fit(iter(train), validation, 2, K)
    monkeypatch.setattr(baselines, "CLIPS_AT_ONCE", 3)
    parts = baselines.fit(iter(train), validation, 2, K)
    assert np.array_equal(whole.pairs, parts.pairs)
    assert np.array_equal(whole.unigram, parts.unigram)
    assert whole.pairs.sum() == 7 * 39 * 2


def test_codes_of_another_codec_and_empty_splits_are_refused(rng: np.random.Generator) -> None:
    with pytest.raises(UserError, match="do not fit 2 codebooks of 4"):
        baselines.fit(clips(rng, 3), clips(rng, 1), 2, 4)
    with pytest.raises(UserError, match="do not fit 3 codebooks"):
        baselines.fit(clips(rng, 1), clips(rng, 1), 3, K)
    fitted = baselines.fit(clips(rng, 1), clips(rng, 1), 2, K)
    for padding in (-100, K):
        with pytest.raises(UserError, match="do not fit 2 codebooks of 5"):
            next(fitted.nll([np.full((2, 3), padding)]))
    with pytest.raises(UserError, match="training split"):
        baselines.fit([], clips(rng, 1), 2, K)
    with pytest.raises(UserError, match="validation split"):
        baselines.fit(clips(rng, 1), [], 2, K)
