"""Estimates with 95 % intervals: bootstrap over clips (Efron and Tibshirani, 1993) and the exact binomial interval.

The clip is the unit that is drawn; windows or tokens of one clip stay together. A bootstrap resample is a row of counts,
how often each clip is drawn, so that a ratio of sums becomes two matrix products.
"""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.special import betaincinv, ndtri  # quantiles; scipy.stats, which calls these, takes a second to import

from musicgen_lite.errors import UserError

CONFIDENCE = 0.95
TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
# Rows of counts are made in blocks, so that memory does not grow with resamples times clips.
BLOCK = 4_000_000


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are resampled. The seed is no parameter: all results use the same one, so that they compare in pairs."""

    resamples: int = 2000
    seed: int = 0

    @property
    def independent(self) -> "Bootstrap":
        """As many resamples of other clips, drawn independently of these."""
        return Bootstrap(self.resamples, self.seed + 1)


@dataclass(frozen=True)
class Estimate:
    """A value, its interval, the number of clips `n` behind it, and how the interval was made."""

    value: float
    low: float
    high: float
    n: int
    method: str

    def as_dict(self) -> dict[str, Any]:
        """The fields as a plain dict, floats rounded as `rounded` does."""
        return {name: rounded(x) if isinstance(x, float) else x for name, x in asdict(self).items()}


def rounded(value: float, digits: int = 6) -> float:
    """So many significant digits: equal results stay equal as text, and differences in the last bits do not show."""
    return float(f"{value:.{digits}g}")


def resamples(n: int, bootstrap: Bootstrap) -> Iterator[np.ndarray]:
    """Blocks `[b, n]` of draw counts, together all bootstrap resamples of `n` clips; the same seed gives the same ones.

    Raises UserError for fewer than two clips: one clip says nothing about others.
    """
    if n < 2:
        raise UserError(f"{n} clip: an interval needs at least 2 clips, and is worth reading from about 30")
    count = bootstrap.resamples
    if count < 1:
        raise UserError(f"score.bootstrap is {count}: at least 1 resample is needed, 2000 are usual")
    rng = np.random.default_rng(bootstrap.seed)
    while count:
        block = min(count, max(1, BLOCK // n))
        yield rng.multinomial(n, np.full(n, 1 / n), size=block)
        count -= block


def percentile(value: float, replicates: np.ndarray, n: int) -> Estimate:
    """The quantiles of the `replicates` `[B]`, for statistics without bias such as means."""
    low, high = np.quantile(replicates, TAILS)
    return Estimate(float(value), float(low), float(high), n, "bootstrap percentile")


def basic(value: float, replicates: np.ndarray, n: int) -> Estimate:
    """2 x value - quantiles of the `replicates` `[B]`.

    For a biased statistic it aims at the unbiased value and may exclude `value` itself.
    """
    low, high = np.quantile(replicates, TAILS)
    return Estimate(float(value), float(2 * value - high), float(2 * value - low), n, "bootstrap basic")


def centred(value: float, replicates: np.ndarray, n: int) -> Estimate:
    """The basic interval of the `replicates` `[B]` without their own bias.

    It contains `value`, and aims at the mean of the statistic at this n, its bias included: the interval to compare by
    where all sets have the same n.
    """
    shift = float(np.mean(replicates)) - value
    return Estimate(**{**basic(value, replicates - shift, n).__dict__, "method": "bootstrap centred"})


def ratio(numerators: np.ndarray, denominators: np.ndarray, bootstrap: Bootstrap) -> Estimate:
    """Sum over sum of per-clip `[n]` numerators and denominators (above 0), with a percentile interval.

    The difference of two ratios over the same denominators is the ratio of the differences.
    """
    top, bottom = np.asarray(numerators, np.float64), np.asarray(denominators, np.float64)
    if not np.isfinite(top).all() or not (np.isfinite(bottom) & (bottom > 0)).all():
        raise ValueError("a ratio needs finite numerators and finite denominators above 0")
    replicates = np.concatenate([(c @ top) / (c @ bottom) for c in resamples(len(top), bootstrap)])
    return percentile(top.sum() / bottom.sum(), replicates, len(top))


def mean(values: np.ndarray, bootstrap: Bootstrap) -> Estimate:
    """The mean of per-clip values `[n]`, with a percentile interval. Paired differences are the mean of `a - b`."""
    return ratio(values, np.ones(len(values)), bootstrap)


def paired_shares(first: np.ndarray, other: np.ndarray) -> Estimate:
    """The share of `other` less that of `first`, both true or false of the same clips `[n]`, by Agresti and Min (2005).

    Resampling would give an interval without width where both agree on every clip.
    """
    n, gained, lost = len(first), int((other & ~first).sum()), int((first & ~other).sum())
    value = (gained - lost) / n
    # Half a clip is added to each of the four cells of the 2 x 2 table.
    centre, size = (gained - lost) / (n + 2), n + 2
    half = float(ndtri(TAILS[1])) * math.sqrt((gained + lost + 1) / size - centre**2) / math.sqrt(size)
    return Estimate(value, max(-1.0, centre - half), min(1.0, centre + half), n, "Agresti-Min")


def proportion(successes: int, n: int) -> Estimate:
    """A share of `n` trials with the exact interval of Clopper and Pearson (1934).

    Raises UserError for no trials.
    """
    if n < 1:
        raise UserError("0 trials: a share needs at least one")
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n}")
    low = 0.0 if successes == 0 else float(betaincinv(successes, n - successes + 1, TAILS[0]))
    high = 1.0 if successes == n else float(betaincinv(successes + 1, n - successes, TAILS[1]))
    return Estimate(successes / n, low, high, n, "exact binomial")
