"""The Fréchet distance beside scipy's matrix square root, and what the bootstraps of one result cost.

`python -m benchmarks.frechet` takes a minute on one thread. Both get the same rows, 2 d a set; the covariances are
part of either time, and the best of several runs counts.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import scipy.linalg
import torch

from musicgen_lite.scoring.audio import fad, kad
from musicgen_lite.scoring.audio.fad import ClipRows
from musicgen_lite.scoring.statistics.intervals import Bootstrap

Distance = Callable[[np.ndarray, np.ndarray], float]


def best(run: Distance, a: np.ndarray, b: np.ndarray, repeats: int) -> tuple[float, float]:
    """Least seconds of `repeats` runs, and the value."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        value = run(a, b)
        times.append(time.perf_counter() - start)
    return min(times), value


def ours(a: np.ndarray, b: np.ndarray) -> float:
    return fad.distance(fad.moments(a), fad.moments(b))


def by_sqrtm(a: np.ndarray, b: np.ndarray) -> float:
    """The textbook formula."""
    c1, c2 = np.cov(a.T), np.cov(b.T)
    root = scipy.linalg.sqrtm(c1 @ c2)
    return float(np.square(a.mean(0) - b.mean(0)).sum() + np.trace(c1) + np.trace(c2) - 2 * np.trace(root).real)


def distances(dims: list[int]) -> None:
    print(f"{'d':>5} {'rows':>6} {'ours, s':>9} {'sqrtm, s':>9} {'ratio':>6} {'relative difference':>20}")
    for d in dims:
        rng = np.random.default_rng(d)
        a, b = rng.normal(size=(2 * d, d)), 0.1 + rng.normal(size=(2 * d, d)) @ rng.normal(size=(d, d)) / np.sqrt(d)
        repeats = 5 if d <= 1024 else 2
        (mine, value), (other, expected) = (best(f, a, b, repeats) for f in (ours, by_sqrtm))
        difference = abs(value - expected) / expected
        print(f"{d:5} {2 * d:6} {mine:9.3f} {other:9.3f} {other / mine:6.1f} {difference:20.1e}", flush=True)


def bootstraps(n: int, d: int, draws: int, sets: int) -> None:
    """Time of all resamples of one space: a reference and `sets` sets, all of `n` clips."""
    rng = np.random.default_rng(0)
    for windows in (1, 2):
        reference, *others = (ClipRows(rng.normal(size=(n * windows, d)), np.full(n, windows)) for _ in range(sets + 1))
        start = time.perf_counter()
        fad.replicates(reference, others, Bootstrap(draws))
        middle = time.perf_counter()
        kad.distances(reference, others, Bootstrap(draws))
        end = time.perf_counter()
        print(
            f"n {n}, d {d}, {windows} window(s) a clip, {sets} sets, {draws} resamples: "
            f"FAD {middle - start:.1f} s, KAD {end - middle:.1f} s",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dims", type=int, nargs="+", default=[128, 512, 2048])
    parser.add_argument("--clips", type=int, default=100)
    parser.add_argument("--dim", type=int, default=512)
    given = parser.parse_args()
    print(f"numpy {np.__version__}, scipy {scipy.__version__}, torch {torch.__version__}")
    distances(given.dims)
    bootstraps(given.clips, given.dim, 2000, 5)


if __name__ == "__main__":
    main()
