import time

import numpy as np
import pytest
import scipy.linalg

from musicgen_lite.scoring.audio import fad
from musicgen_lite.scoring.audio.fad import ClipRows, distance, moments
from musicgen_lite.scoring.statistics import intervals
from musicgen_lite.scoring.statistics.intervals import Bootstrap


def by_sqrtm(a: np.ndarray, b: np.ndarray) -> float:
    """The textbook formula."""
    c1, c2 = np.cov(a.T), np.cov(b.T)
    root = scipy.linalg.sqrtm(c1 @ c2)
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(c1 + c2) - 2 * np.trace(root).real)


@pytest.mark.parametrize(("n", "d"), [(200, 8), (10, 64), (3, 64), (40, 40)])
def test_identical_sets_are_at_distance_zero_rank_deficient_too(n: int, d: int, rng: np.random.Generator) -> None:
    x = 1e3 * rng.normal(size=(n, d))
    assert distance(moments(x), moments(x.copy())) <= 1e-6 * 2 * moments(x).trace
    assert distance(moments(x), moments(x[::-1])) <= 1e-6 * 2 * moments(x).trace


@pytest.mark.parametrize(("n", "d"), [(200, 8), (10, 64)])
def test_closed_forms(n: int, d: int, rng: np.random.Generator) -> None:
    x, shift = rng.normal(size=(n, d)), rng.normal(size=d)
    assert distance(moments(x), moments(x + shift)) == pytest.approx(shift @ shift, rel=1e-6)
    scaled = x.mean(0) + 1.7 * (x - x.mean(0))
    assert distance(moments(x), moments(scaled)) == pytest.approx(0.7**2 * moments(x).trace, rel=1e-6)


def test_commuting_covariances(rng: np.random.Generator) -> None:
    directions, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    centred = rng.normal(size=(50, 6))
    white = np.linalg.qr(centred - centred.mean(0))[0] * np.sqrt(49)
    d1, d2 = rng.uniform(0.1, 3, 6), rng.uniform(0.1, 3, 6)
    a, b = (white * np.sqrt(d1)) @ directions.T, (white * np.sqrt(d2)) @ directions.T
    assert distance(moments(a), moments(b)) == pytest.approx(((np.sqrt(d1) - np.sqrt(d2)) ** 2).sum(), rel=1e-6)


@pytest.mark.parametrize("d", [2, 16, 64])
def test_agrees_with_a_matrix_square_root_on_full_rank(d: int, rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(4 * d, d)), 0.5 + rng.normal(size=(5 * d, d)) @ rng.normal(size=(d, d))
    assert distance(moments(a), moments(b)) == pytest.approx(by_sqrtm(a, b), rel=1e-9)


def test_weights_count_rows_as_often(rng: np.random.Generator) -> None:
    x, counts = rng.normal(size=(12, 5)), rng.integers(0, 4, 12)
    a, b = moments(x, counts), moments(np.repeat(x, counts, axis=0))
    assert np.allclose(a.mean, b.mean)
    assert np.allclose(a.root.T @ a.root, b.root.T @ b.root)
    assert np.allclose(b.root.T @ b.root, np.cov(np.repeat(x, counts, axis=0).T))


def test_faults_are_not_hidden() -> None:
    with pytest.raises(ValueError, match="at least 2 finite rows"):
        moments(np.ones((1, 3)))
    with pytest.raises(ValueError, match="finite: False"):
        moments(np.array([[1.0], [np.nan], [2.0]]))
    bad = fad.Moments(np.zeros(2), np.full((2, 2), np.nan))
    with pytest.raises((ArithmeticError, np.linalg.LinAlgError)):
        distance(bad, bad)


def test_all_windows_of_a_clip_are_drawn_together(rng: np.random.Generator) -> None:
    clips = ClipRows(rng.normal(size=(6, 3)), np.array([1, 3, 2]))
    drawn = clips.moments(np.array([2, 0, 1]))
    assert np.allclose(drawn.mean, clips.rows[[0, 0, 4, 5]].mean(0))
    assert np.array_equal(clips.take(np.array([2, 0])).rows, clips.rows[[0, 4, 5]])


def test_each_clip_alone_is_measured_by_its_own_windows(rng: np.random.Generator) -> None:
    reference = rng.normal(size=(50, 4))
    clips = ClipRows(rng.normal(size=(9, 4)) * 2, np.array([5, 1, 3]))
    found = fad.per_clip(moments(reference), clips)
    assert found[0] == pytest.approx(distance(moments(reference), moments(clips.rows[:5])))
    assert found[2] == pytest.approx(distance(moments(reference), moments(clips.rows[6:])))
    # A single window: a point has no spread.
    from_mean = np.square(clips.rows[5] - reference.mean(0)).sum()
    assert found[1] == pytest.approx(from_mean + np.trace(np.cov(reference.T)))


def test_replicates_are_distances_of_resampled_clips(rng: np.random.Generator) -> None:
    reference, one = (ClipRows(rng.normal(size=(20, 3)), np.full(10, 2)) for _ in range(2))
    draws = fad.replicates(reference, [one, one], Bootstrap(5, 3))
    first = [next(intervals.resamples(10, Bootstrap(5, seed)))[0] for seed in (3, 4)]
    rows = [
        np.repeat(c.rows.reshape(10, 2, 3), n, axis=0).reshape(-1, 3)
        for c, n in zip((reference, one), first, strict=True)
    ]
    assert draws[0, 0] == pytest.approx(by_sqrtm(*rows), rel=1e-7)
    assert np.array_equal(draws[:, 0], draws[:, 1])
    with pytest.raises(ValueError, match="different sizes"):
        fad.replicates(reference, [one, one.take(np.arange(5))], Bootstrap(5))


def test_fad_infinity_is_withheld_below_two_clips_a_dimension() -> None:
    small, large = (ClipRows(np.zeros((n, 8)), np.ones(n, int)) for n in (15, 16))
    assert "15 clips are fewer than 2 x 8" in str(fad.infinity_withheld(large, small))
    assert fad.infinity_withheld(large, large) is None


@pytest.mark.slow
def test_fad_infinity_recovers_the_true_value_where_fad_does_not(rng: np.random.Generator) -> None:
    d, n, shift = 16, 64, 0.2
    true = d * shift**2
    plain, extrapolated, covered, plain_covered = [], [], 0, 0
    for draw in range(30):
        a = ClipRows(rng.normal(size=(n, d)), np.ones(n, int))
        b = ClipRows(shift + rng.normal(size=(n, d)), np.ones(n, int))
        value, inf = distance(a.moments(), b.moments()), fad.infinity(a, b, draw)
        deviations = np.quantile(fad.replicates(a, [b], Bootstrap(200, draw))[:, 0], (0.025, 0.5, 0.975))
        low, high = deviations[0] - deviations[1], deviations[2] - deviations[1]
        covered += low <= inf - true <= high
        plain_covered += low <= value - true <= high
        plain.append(value)
        extrapolated.append(inf)
    error = np.std(extrapolated) / np.sqrt(30)
    assert abs(np.mean(extrapolated) - true) < 3 * error
    assert np.mean(plain) - true > 10 * error
    assert covered >= 26
    assert plain_covered < 3


@pytest.mark.slow
def test_the_centred_interval_covers_fad_at_this_n_and_the_basic_one_the_true_value(rng: np.random.Generator) -> None:
    d, n, shift = 8, 64, 0.25
    true = d * shift**2
    estimates, centred, basic = [], [], []
    for draw in range(80):
        a = ClipRows(rng.normal(size=(n, d)), np.ones(n, int))
        b = ClipRows(shift + 1.2 * rng.normal(size=(n, d)), np.ones(n, int))
        value, draws = distance(a.moments(), b.moments()), fad.replicates(a, [b], Bootstrap(200, draw))[:, 0]
        estimates.append(value)
        centred.append(intervals.centred(value, draws, n))
        basic.append(intervals.basic(value, draws, n))
    true += 0.04 * d
    expected = float(np.mean(estimates))
    assert expected > true + 0.2
    assert np.mean([e.low <= expected <= e.high for e in centred]) >= 0.9
    assert np.mean([e.low <= true <= e.high for e in basic]) >= 0.9
    assert all(e.low <= e.value <= e.high for e in centred)


@pytest.mark.slow
def test_2000_resamples_of_four_sets_take_seconds(rng: np.random.Generator) -> None:
    reference, *sets = (ClipRows(rng.normal(size=(128, 128)), np.ones(128, int)) for _ in range(5))
    start = time.process_time()
    fad.replicates(reference, sets, Bootstrap())
    assert time.process_time() - start < 60


def by_fadtk(mu1: np.ndarray, cov1: np.ndarray, mu2: np.ndarray, cov2: np.ndarray) -> float:
    """The formula of fadtk 1.1: the root by eigenvalues, of which the imaginary part is dropped."""
    values, vectors = scipy.linalg.eig(cov1 @ cov2)
    root = ((vectors * np.emath.sqrt(values)) @ scipy.linalg.inv(vectors)).real
    return float((mu1 - mu2) @ (mu1 - mu2) + np.trace(cov1) + np.trace(cov2) - 2 * np.trace(root))


@pytest.mark.parametrize(("n", "d"), [(40, 8), (300, 64)])
def test_of_stated_embeddings_it_is_fadtks(n: int, d: int, rng: np.random.Generator) -> None:
    a, b = (
        (rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) / d + shift).astype(np.float16).astype(np.float32)
        for shift in (0.0, 0.1)
    )
    expected = by_fadtk(
        *(
            f(x.astype(np.float64))
            for x in (a, b)
            for f in (lambda x: x.mean(axis=0), lambda x: np.cov(x, rowvar=False))
        )
    )
    assert distance(moments(a), moments(b)) == pytest.approx(expected, rel=1e-8)
