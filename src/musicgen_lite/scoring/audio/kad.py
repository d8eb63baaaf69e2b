"""Kernel audio distance (Chung et al., 2025): squared maximum mean discrepancy, unbiased (Gretton et al., 2012).

The unit is the clip: the kernel of two clips is the mean over their pairs of windows, and pairs within one clip are left
out. With one window per clip this is the usual estimator. Unlike FAD it is unbiased at small n, and it may be negative.
"""

import numpy as np

from musicgen_lite.errors import UserError
from musicgen_lite.scoring.audio.fad import ClipRows
from musicgen_lite.scoring.statistics import intervals
from musicgen_lite.scoring.statistics.intervals import Bootstrap

# The median of this many evenly spaced rows is enough, and memory stays bounded.
BANDWIDTH_ROWS = 2000
# Of kadtk, which takes all rows; above this many their distances would fill the memory.
KADTK_ROWS = 20_000
KADTK_SCALE = 100
KADTK_EPS = 1e-8


def _squared_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    products = x @ y.T
    return np.maximum(np.square(x).sum(1)[:, None] + np.square(y).sum(1)[None] - 2 * products, 0.0)


def bandwidth(reference: ClipRows) -> float:
    """The median Euclidean distance between rows of the reference set. Raises UserError where it is 0."""
    rows = np.asarray(reference.rows, np.float64)
    rows = rows[:: -(-len(rows) // BANDWIDTH_ROWS)]
    pairs = np.triu_indices(len(rows), 1)
    return _told_apart(float(np.median(np.sqrt(_squared_distances(rows, rows)[pairs]))), "reference")


def _told_apart(median: float, what: str) -> float:
    if not median > 0:
        raise UserError(
            f"the median distance within the {what} is {median}: its clips embed alike, so this space tells no audio "
            "from another; are the clips all the same, or the model that embeds them (score.clap, codec.name) broken?"
        )
    return median


def clip_kernel(a: ClipRows, b: ClipRows, sigma: float) -> np.ndarray:
    """Gaussian kernel exp(-|x - y|^2 / (2 sigma^2)) of each clip of `a` with each of `b`, mean over windows: `[n_a, n_b]`."""
    out = np.empty((a.n, b.n))
    other = np.asarray(b.rows, np.float64)
    starts_b = np.cumsum(b.windows) - b.windows
    ends_a = np.cumsum(a.windows)
    for i, (end, size) in enumerate(zip(ends_a, a.windows, strict=True)):
        own = np.asarray(a.rows[end - size : end], np.float64)
        values = np.exp(_squared_distances(own, other) / (-2 * sigma**2)).mean(axis=0)
        out[i] = np.add.reduceat(values, starts_b) / b.windows
    return out


def _within(kernel: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean of `kernel` `[n, n]` over pairs of different clips, each drawn `counts` `[B, n]` times: `[B]`.

    Where one clip is drawn n times there is no such pair, and the clip's own value is used.
    """
    own = np.diag(kernel)
    total = counts.sum(axis=1) ** 2 - np.square(counts).sum(axis=1)
    pairs = np.einsum("bi,bi->b", counts @ (kernel - np.diag(own)), counts)
    return np.where(total > 0, pairs / np.maximum(total, 1), counts @ own / counts.sum(axis=1))


def _draws(n: int, bootstrap: Bootstrap) -> np.ndarray:
    """The counts `[B + 1, n]` of all resamples; the first row counts every clip once, for the value itself."""
    return np.concatenate([np.ones((1, n)), *intervals.resamples(n, bootstrap)])


def distances(reference: ClipRows, sets: list[ClipRows], bootstrap: Bootstrap) -> tuple[np.ndarray, np.ndarray]:
    """KAD of each set `[S]`, and of each resample of clips `[B, S]`; sets share draws as in `fad.replicates`.

    A pair drawn twice from one clip is left out as well: it would compare a clip with itself.
    """
    sigma = bandwidth(reference)
    for_reference, for_sets = _draws(reference.n, bootstrap), _draws(sets[0].n, bootstrap.independent)
    between = for_reference.sum(axis=1) * for_sets.sum(axis=1)
    # One kernel at a time: they are what grows with the square of the clips.
    spread = _within(clip_kernel(reference, reference, sigma), for_reference)
    columns = []
    for one in sets:
        own = _within(clip_kernel(one, one, sigma), for_sets)
        cross = np.einsum("bi,bi->b", for_reference @ clip_kernel(reference, one, sigma), for_sets) / between
        columns.append(spread + own - 2 * cross)
    values = np.stack(columns, axis=1)
    return values[0], values[1:]


def kadtk_bandwidth(one: ClipRows) -> float:
    """The median Euclidean distance between rows as kadtk 1.1 has it: the lower of two middle ones, in float32.

    Raises UserError where it is 0.
    """
    import torch

    rows = torch.from_numpy(np.asarray(one.rows[:: -(-len(one.rows) // KADTK_ROWS)], np.float32))
    return _told_apart(float(torch.pdist(rows).median()), "clips")


def _row_sums(a: ClipRows, b: ClipRows, sigma: float) -> np.ndarray:
    """The kernel summed over the pairs of rows of each clip of `a` with each of `b`: `[n_a, n_b]`."""
    widened = float(np.sqrt(sigma**2 + KADTK_EPS / 2))  # its guard against division by 0
    return clip_kernel(a, b, widened) * np.outer(a.windows, b.windows)


def _within_rows(sums: np.ndarray, windows: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean kernel over pairs of different rows, their clips drawn `counts` `[B, n]` times: `[B]`.

    Pairs between two copies of one clip are left out: they would compare a clip with itself. Where none is left, the value is 1, as of equal
    rows.
    """
    own = np.diag(sums)
    values = counts @ (own - windows) + np.einsum("bi,bi->b", counts @ (sums - np.diag(own)), counts)
    pairs = counts @ (windows * (windows - 1)) + (counts @ windows) ** 2 - np.square(counts) @ np.square(windows)
    return np.where(pairs > 0, values / np.maximum(pairs, 1), 1.0)


def kadtk_distances(reference: ClipRows, sets: list[ClipRows], bootstrap: Bootstrap) -> tuple[np.ndarray, np.ndarray]:
    """KAD of each set `[S]`, and of each resample of clips `[B, S]`, as kadtk 1.1 has it.

    Times 100; the unit is the row: pairs of rows within a clip count. The bandwidth is the median distance within the set that is scored: kadtk's README
    says that of the reference, its code takes this.
    """
    for_reference, for_sets = _draws(reference.n, bootstrap), _draws(sets[0].n, bootstrap.independent)
    columns = []
    for one in sets:
        sigma = kadtk_bandwidth(one)
        spread = _within_rows(_row_sums(reference, reference, sigma), reference.windows, for_reference)
        own = _within_rows(_row_sums(one, one, sigma), one.windows, for_sets)
        cross = np.einsum("bi,bi->b", for_reference @ _row_sums(reference, one, sigma), for_sets)
        cross /= (for_reference @ reference.windows) * (for_sets @ one.windows)
        columns.append(KADTK_SCALE * (spread + own - 2 * cross))
    values = np.stack(columns, axis=1)
    return values[0], values[1:]
