import itertools

import numpy as np
import pytest

from musicgen_lite.errors import UserError
from musicgen_lite.scoring.audio import kad
from musicgen_lite.scoring.audio.fad import ClipRows
from musicgen_lite.scoring.statistics.intervals import Bootstrap


def singles(rows: np.ndarray) -> ClipRows:
    return ClipRows(rows, np.ones(len(rows), dtype=int))


def k(x: np.ndarray, y: np.ndarray, sigma: float) -> float:
    return float(np.exp(-((x - y) ** 2).sum() / (2 * sigma**2)))


def test_bandwidth_is_the_median_distance_of_the_reference(rng: np.random.Generator) -> None:
    x = rng.normal(size=(9, 4))
    distances = [np.linalg.norm(a - b) for a, b in itertools.combinations(x, 2)]
    assert kad.bandwidth(singles(x)) == pytest.approx(np.median(distances))
    with pytest.raises(UserError, match="embed alike"):
        kad.bandwidth(singles(np.ones((4, 2))))


def test_kad_is_the_unbiased_double_sum(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(7, 3)), 0.5 + rng.normal(size=(9, 3))
    sigma = kad.bandwidth(singles(x))
    within = [sum(k(a, b, sigma) for a, b in itertools.permutations(s, 2)) / (len(s) * (len(s) - 1)) for s in (x, y)]
    between = sum(k(a, b, sigma) for a in x for b in y) / (7 * 9)
    values, _ = kad.distances(singles(x), [singles(y)], Bootstrap(2))
    assert values[0] == pytest.approx(sum(within) - 2 * between, rel=1e-12)


def test_windows_of_one_clip_are_never_paired(rng: np.random.Generator) -> None:
    windows = np.array([2, 1, 3])
    x, y = ClipRows(rng.normal(size=(6, 3)), windows), ClipRows(rng.normal(size=(6, 3)), windows)
    sigma = kad.bandwidth(x)
    parts = [np.split(c.rows, np.cumsum(windows)[:-1]) for c in (x, y)]

    def mean(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.mean([k(p, q, sigma) for p in a for q in b]))

    within = [np.mean([mean(a, b) for a, b in itertools.permutations(p, 2)]) for p in parts]
    between = np.mean([mean(a, b) for a in parts[0] for b in parts[1]])
    assert kad.distances(x, [y], Bootstrap(2))[0][0] == pytest.approx(sum(within) - 2 * between, rel=1e-12)


def test_resamples_leave_pairs_of_a_clip_with_itself_out(rng: np.random.Generator) -> None:
    gram, counts = rng.uniform(size=(4, 4)), np.array([[2.0, 0.0, 1.0, 1.0]])
    drawn = [0, 0, 2, 3]
    pairs = [gram[i, j] for i, j in itertools.product(drawn, repeat=2) if i != j]
    assert kad._within(gram, counts)[0] == pytest.approx(np.mean(pairs))


def test_there_is_no_bias_at_small_n_and_the_order_is_found(rng: np.random.Generator) -> None:
    same, near, far = [], [], []
    for _ in range(80):
        x, a, b, c = (shift + rng.normal(size=(16, 32)) for shift in (0.0, 0.0, 0.3, 1.0))
        values, _ = kad.distances(singles(x), [singles(a), singles(b), singles(c)], Bootstrap(1))
        same.append(values[0])
        near.append(values[1])
        far.append(values[2])
    assert abs(np.mean(same)) < 3 * np.std(same) / np.sqrt(80)
    assert np.mean(same) < np.mean(near) < np.mean(far)
