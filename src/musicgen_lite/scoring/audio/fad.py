"""Fréchet audio distance (Kilgour et al., 2019) without a matrix square root.

With covariances C = R^T R the trace of sqrt(C1 C2) is the sum of the singular values of R1 R2^T. A root R comes straight
from the centred rows, or from their QR factor where there are more rows than dimensions. Rank-deficient sets are no
special case: nothing is added to the diagonal and nothing becomes complex.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from musicgen_lite.scoring.statistics import intervals
from musicgen_lite.scoring.statistics.intervals import Bootstrap

# Rounding leaves negative values of about 1e-15 x the traces; beyond this share of them it is an error.
NEGATIVE = 1e-6
SUBSETS = 8
ORDERS = 10
# Of fadtk's line over 1/n.
FADTK_STEPS = 25
FADTK_LEAST = 500


@dataclass(frozen=True)
class Moments:
    """Mean `[d]` and a root `[r, d]` of the covariance: root^T root = C, unbiased (n - 1), in float64."""

    mean: np.ndarray
    root: np.ndarray

    @property
    def trace(self) -> float:
        """Trace of the covariance: total variance."""
        return float(np.square(self.root).sum())


def moments(rows: np.ndarray, weights: np.ndarray | None = None) -> Moments:
    """Moments of `rows` `[N, d]`, each counted `weights` `[N]` times. Raises ValueError below two rows or for NaN."""
    rows = np.asarray(rows, np.float64)
    counts = np.ones(len(rows)) if weights is None else np.asarray(weights, np.float64)
    drawn = counts > 0
    rows, counts = rows[drawn], counts[drawn]
    total = counts.sum()
    if total < 2 or not np.isfinite(rows).all():
        raise ValueError(f"moments need at least 2 finite rows, found {total:g}, finite: {np.isfinite(rows).all()}")
    mean = counts @ rows / total
    root = np.sqrt(counts / (total - 1))[:, None] * (rows - mean)
    return Moments(mean, root if len(root) <= root.shape[1] else np.asarray(np.linalg.qr(root, mode="r")))


def distance(a: Moments, b: Moments) -> float:
    """Squared Fréchet distance of two Gaussians: |m1 - m2|^2 + tr C1 + tr C2 - 2 tr sqrt(C1 C2).

    Raises ArithmeticError where it is more negative than rounding explains.
    """
    traces = a.trace + b.trace
    overlap = np.linalg.svd(a.root @ b.root.T, compute_uv=False).sum()
    value = float(np.square(a.mean - b.mean).sum() + traces - 2 * overlap)
    if not value >= -NEGATIVE * traces:
        raise ArithmeticError(f"the Fréchet distance came out as {value}, with traces of {traces} in all")
    return max(value, 0.0)


@dataclass(frozen=True)
class ClipRows:
    """Embedding rows `[N, d]` in the order of the clips; clip i has `windows[i]` of them."""

    rows: np.ndarray
    windows: np.ndarray

    @property
    def n(self) -> int:
        """Number of clips."""
        return len(self.windows)

    def moments(self, counts: np.ndarray | None = None) -> Moments:
        """Moments with each clip drawn `counts` `[n]` times, all its windows together."""
        return moments(self.rows, None if counts is None else np.repeat(counts, self.windows))

    def take(self, clips: np.ndarray) -> "ClipRows":
        """The clips at the positions `clips`, in stored order."""
        chosen = np.zeros(self.n, dtype=bool)
        chosen[clips] = True
        return ClipRows(self.rows[np.repeat(chosen, self.windows)], self.windows[chosen])


def per_clip(reference: Moments, one: ClipRows) -> np.ndarray:
    """FAD of each clip alone `[n]`, to rank the clips of a set by (Gui et al., 2024): its windows against the reference.

    A clip of one window has no covariance: then the ranking is by distance to the mean of the reference.
    Compare only clips with the same number of windows.
    """
    values = np.empty(one.n)
    for i, (end, size) in enumerate(zip(np.cumsum(one.windows), one.windows, strict=True)):
        rows = np.asarray(one.rows[end - size : end], np.float64)
        single = Moments(rows[0], np.zeros((1, rows.shape[1])))
        values[i] = distance(reference, moments(rows) if size > 1 else single)
    return values


def distances(reference: ClipRows, sets: list[ClipRows], bootstrap: Bootstrap) -> tuple[np.ndarray, np.ndarray]:
    """FAD of each set `[S]`, and of each resample of clips `[B, S]`."""
    at = reference.moments()
    return np.array([distance(at, one.moments()) for one in sets]), replicates(reference, sets, bootstrap)


def replicates(reference: ClipRows | Moments, sets: list[ClipRows], bootstrap: Bootstrap) -> np.ndarray:
    """FAD of each set to the reference in each resample of clips: `[B, len(sets)]`.

    The reference is resampled independently, unless its moments alone are known. All sets have the same clips in the same order and share the draws, so that
    differences between sets are paired.
    """
    if len({one.n for one in sets}) != 1:
        raise ValueError(f"sets of different sizes cannot be resampled together: {[one.n for one in sets]}")
    bases: Iterator[Moments] = (
        itertools.repeat(reference, bootstrap.resamples)
        if isinstance(reference, Moments)
        else map(reference.moments, _draws(reference.n, bootstrap))
    )
    out = np.empty((bootstrap.resamples, len(sets)))
    for i, (base, drawn) in enumerate(zip(bases, _draws(sets[0].n, bootstrap.independent), strict=True)):
        out[i] = [distance(base, one.moments(drawn)) for one in sets]
    return out


def _draws(n: int, bootstrap: Bootstrap) -> Iterator[np.ndarray]:
    """The counts `[n]` of each resample."""
    return itertools.chain.from_iterable(intervals.resamples(n, bootstrap))


def infinity_withheld(reference: ClipRows, one: ClipRows) -> str | None:
    """Why FAD-infinity cannot be trusted for these sets, or None where it can.

    Below d rows a covariance loses rank and FAD no longer falls as 1/n. In simulations (d = 32 and 64) the
    extrapolation was unbiased from 2 d clips on, and far too high at d clips.
    """
    n, d = min(reference.n, one.n), one.rows.shape[1]
    if n >= 2 * d:
        return None
    return (
        f"{n} clips are fewer than 2 x {d} dimensions: FAD does not fall as 1/n there, so nothing can be extrapolated"
    )


def infinity(reference: ClipRows, one: ClipRows, seed: int) -> float:
    """FAD-infinity (Chong and Forsyth, 2020): FAD over 1/n of nested subsets, followed by a line to 1/n = 0.

    Subsets are drawn without replacement and shrink both sets by the same share, down to a quarter or to d clips, so
    that the bias of the reference vanishes as well. The mean over `ORDERS` seeded orders is fitted. It may fall below 0.
    """
    rng = np.random.default_rng(seed)
    smallest = min(4.0, min(reference.n, one.n) / one.rows.shape[1])
    shrink = np.linspace(1.0, smallest, SUBSETS)
    values = np.zeros((ORDERS, SUBSETS))
    for row in values:
        orders = [rng.permutation(clips.n) for clips in (reference, one)]
        for i, factor in enumerate(shrink):
            a, b = (
                clips.take(order[: round(clips.n / factor)])
                for clips, order in zip((reference, one), orders, strict=True)
            )
            row[i] = distance(a.moments(), b.moments())
    return float(np.polyfit(shrink, values.mean(axis=0), 1)[1])


def fadtk_infinity_withheld(one: ClipRows) -> str | None:
    """Why fadtk's FAD-infinity says nothing of a set, or None where it does."""
    if len(one.rows) > FADTK_LEAST:
        return None
    return f"{len(one.rows)} windows, but fadtk's line begins at {FADTK_LEAST}"


def fadtk_infinity(reference: ClipRows | Moments, one: ClipRows, seed: int) -> float:
    """FAD-infinity as fadtk 1.1 has it: a line over 1/n through FADs of n windows, from 500 to all, drawn with replacement.

    Draws with replacement keep the bias of the set that they are drawn from, so that this falls back to FAD, where `infinity` does not.
    """
    at = reference if isinstance(reference, Moments) else reference.moments()
    rng = np.random.RandomState(seed)  # the generator that fadtk draws from
    sizes = np.linspace(FADTK_LEAST, len(one.rows), FADTK_STEPS).astype(int)
    values = [distance(at, moments(one.rows[rng.choice(len(one.rows), n, replace=True)])) for n in sizes]
    return float(np.polyfit(1 / sizes, values, 1)[1])
