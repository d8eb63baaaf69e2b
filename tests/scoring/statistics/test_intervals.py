import numpy as np
import pytest
from scipy.stats import binomtest

from musicgen_lite.errors import UserError
from musicgen_lite.scoring.statistics import intervals
from musicgen_lite.scoring.statistics.intervals import Bootstrap


def test_a_resample_draws_n_clips_and_the_same_ones_for_the_same_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.concatenate(list(intervals.resamples(7, Bootstrap(100, 3))))
    monkeypatch.setattr(intervals, "BLOCK", 50)
    blocks = list(intervals.resamples(7, Bootstrap(100, 3)))
    assert len(blocks) > 10
    assert np.array_equal(np.concatenate(blocks), whole)
    assert whole.shape == (100, 7)
    assert (whole.sum(axis=1) == 7).all()
    assert not np.array_equal(whole, np.concatenate(list(intervals.resamples(7, Bootstrap(100, 4)))))


def test_a_ratio_is_sum_over_sum_not_a_mean_of_means() -> None:
    estimate = intervals.ratio(np.array([10.0, 1.0]), np.array([10.0, 4.0]), Bootstrap(500))
    assert estimate.value == pytest.approx(11 / 14)
    # Two clips: every resample is one of three.
    assert (estimate.low, estimate.high, estimate.n) == (0.25, 1.0, 2)


def test_the_interval_of_a_mean_is_as_wide_as_the_normal_one() -> None:
    values = np.random.default_rng(0).normal(5, 2, 400)
    estimate = intervals.mean(values, Bootstrap(4000, 1))
    half = 1.96 * values.std() / 20
    assert estimate.low == pytest.approx(values.mean() - half, abs=0.15 * half)
    assert estimate.high == pytest.approx(values.mean() + half, abs=0.15 * half)
    around = intervals.mean(values - values.mean(), Bootstrap(500, 1))
    assert around.low < 0 < around.high


def test_basic_reflects_the_quantiles_and_centred_takes_their_bias_off() -> None:
    draws = np.linspace(2.0, 4.0, 10001)
    basic, centred = intervals.basic(2.5, draws, 9), intervals.centred(2.5, draws, 9)
    assert (basic.low, basic.high) == pytest.approx((1.05, 2.95))
    assert (centred.low, centred.high) == pytest.approx((1.55, 3.45))
    assert intervals.percentile(2.5, draws, 9).low == pytest.approx(2.05)


@pytest.mark.parametrize(("successes", "n"), [(0, 5), (5, 5), (3, 10), (64, 128)])
def test_a_proportion_has_the_exact_interval(successes: int, n: int) -> None:
    estimate = intervals.proportion(successes, n)
    oracle = binomtest(successes, n).proportion_ci(method="exact")
    assert (estimate.low, estimate.high) == pytest.approx((oracle.low, oracle.high), abs=1e-12)
    assert estimate.value == successes / n


def test_a_difference_of_paired_shares_by_hand() -> None:
    """Of 8 clips 3 are gained and 1 is lost: half a clip in each cell makes that 3.5 and 1.5 of 10."""
    first = np.array([0, 0, 0, 1, 1, 1, 0, 0], bool)
    other = np.array([1, 1, 1, 0, 1, 1, 0, 0], bool)
    found = intervals.paired_shares(first, other)
    half = 1.959964 * np.sqrt((3.5 + 1.5) - 2**2 / 10) / 10
    assert (found.value, found.n) == (0.25, 8)
    assert (found.low, found.high) == pytest.approx((0.2 - half, 0.2 + half), abs=1e-6)


def test_shares_that_agree_on_every_clip_are_not_surely_equal() -> None:
    agreed = intervals.paired_shares(np.zeros(12, bool), np.zeros(12, bool))
    assert agreed.value == 0
    assert agreed.low == -agreed.high < -0.1
    rng, hits = np.random.default_rng(0), 0
    for _ in range(1000):
        both = rng.random(32) < 0.5
        first, other = both & (rng.random(32) < 0.8), both & (rng.random(32) < 0.6)
        one = intervals.paired_shares(first, other)
        hits += one.low <= -0.1 <= one.high
    assert 0.93 <= hits / 1000 <= 0.98


def test_bad_input_is_refused() -> None:
    with pytest.raises(UserError, match="at least 2 clips"):
        intervals.mean(np.array([1.0]), Bootstrap(10))
    with pytest.raises(UserError, match=r"score\.bootstrap is 0"):
        intervals.mean(np.array([1.0, 2.0]), Bootstrap(0))
    with pytest.raises(ValueError, match="finite"):
        intervals.mean(np.array([1.0, np.nan]), Bootstrap(10))
    with pytest.raises(UserError, match="0 trials"):
        intervals.proportion(0, 0)


def test_figures_are_rounded_to_six_significant_digits() -> None:
    assert intervals.rounded(4.123456789) == 4.12346
    assert intervals.Estimate(1 / 3, 0.1, 1e-9 / 3, 4, "m").as_dict()["high"] == 3.33333e-10


@pytest.mark.slow
@pytest.mark.parametrize("skewed", [False, True])
def test_95_percent_intervals_of_ratios_cover(skewed: bool) -> None:
    rng, hits = np.random.default_rng(0), 0
    for draw in range(200):
        cells = rng.integers(100, 300, 64)
        rates = rng.gamma(4, 1, 64) if skewed else rng.normal(4, 1, 64)
        estimate = intervals.ratio(rates * cells, cells, Bootstrap(600, draw))
        hits += estimate.low <= 4 <= estimate.high
    assert 0.90 <= hits / 200 <= 0.98
