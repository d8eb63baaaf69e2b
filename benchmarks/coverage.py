"""How often the 95 % intervals hold what they should, by simulation.

`python -m benchmarks.coverage` takes about 2 minutes on one thread. Each row draws `--draws` pairs of samples and counts. A
proportion of 0.95 of 200 has a standard error of 0.015.
"""

import argparse
from collections.abc import Callable

import numpy as np

from musicgen_lite.scoring.audio import fad, kad
from musicgen_lite.scoring.audio.fad import ClipRows
from musicgen_lite.scoring.statistics import intervals
from musicgen_lite.scoring.statistics.intervals import Bootstrap, Estimate

BOOTSTRAP = 400


def holds(estimate: Estimate, truth: float) -> bool:
    return estimate.low <= truth <= estimate.high


def means(draws: int) -> None:
    print("means (percentile): share of intervals that hold the true mean")
    kinds: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
        "normal": lambda rng, n: rng.normal(4, 1, n),
        "skewed (gamma 4)": lambda rng, n: rng.gamma(4, 1, n),
        "bounded, near 1": lambda rng, n: 4 * rng.beta(8, 2, n) / 0.8,
    }
    for name, draw in kinds.items():
        for n in (12, 32, 64, 128):
            rng = np.random.default_rng(n)
            found = sum(holds(intervals.mean(draw(rng, n), Bootstrap(1000, i)), 4.0) for i in range(draws))
            print(f"  {name:18} n {n:4}: {found / draws:.3f}", flush=True)


def paired(draws: int) -> None:
    print("ratio of sums and paired difference, n 64: share that holds the truth")
    rng, sums, differences = np.random.default_rng(0), 0, 0
    for i in range(draws):
        cells, common = rng.integers(100, 300, 64), rng.gamma(4, 1, 64)
        sums += holds(intervals.ratio(common * cells, cells, Bootstrap(1000, i)), 4.0)
        differences += holds(intervals.mean(0.1 + rng.normal(0, 0.2, 64), Bootstrap(1000, i)), 0.1)
    print(f"  ratio {sums / draws:.3f}, difference {differences / draws:.3f}", flush=True)


def distances(draws: int) -> None:
    """Two Gaussians, shifted and scaled, for which |shift|^2 + d (1 - scale)^2 is the true distance."""
    print("FAD of two known Gaussians: mean over samples, and share of intervals that hold the named value")
    print(
        f"  {'d':>3} {'n':>4} {'truth':>6} {'FAD':>6} {'inf':>6}   centred: at this n, truth   basic: truth   inf: truth"
    )
    for d, n in ((8, 64), (16, 64), (16, 128), (32, 64), (64, 64), (128, 64)):
        rng = np.random.default_rng(d)
        shift, scale = 0.25, 1.2
        truth = d * (shift**2 + (scale - 1) ** 2)
        values, infinities, centred, basic, infinite = [], [], [], [], []
        for i in range(draws):
            a = ClipRows(rng.normal(size=(n, d)), np.ones(n, int))
            b = ClipRows(shift + scale * rng.normal(size=(n, d)), np.ones(n, int))
            value = fad.distance(a.moments(), b.moments())
            replicates = fad.replicates(a, [b], Bootstrap(BOOTSTRAP, i))[:, 0]
            values.append(value)
            centred.append(intervals.centred(value, replicates, n))
            basic.append(intervals.basic(value, replicates, n))
            if fad.infinity_withheld(a, b) is None:
                infinities.append(fad.infinity(a, b, i))
                infinite.append(intervals.centred(infinities[-1], replicates - replicates.mean() + infinities[-1], n))
        here = float(np.mean(values))

        def share(estimates: list[Estimate], value: float) -> str:
            return f"{np.mean([holds(e, value) for e in estimates]):.3f}" if estimates else "withheld"

        inf = f"{np.mean(infinities):6.3f}" if infinities else f"{'-':>6}"
        print(
            f"  {d:3} {n:4} {truth:6.3f} {here:6.3f} {inf}   {share(centred, here):>10} {share(centred, truth):>14}"
            f" {share(basic, truth):>14} {share(infinite, truth):>12}",
            flush=True,
        )


def kads(draws: int) -> None:
    print("KAD (basic): share that holds the mean over samples")
    for d, n, shift in ((16, 32, 0.1), (16, 64, 0.1), (128, 64, 0.1), (16, 64, 0.5), (128, 64, 0.5)):
        rng, estimates = np.random.default_rng(d), []
        for i in range(draws):
            rows = (rng.normal(size=(n, d)), shift + rng.normal(size=(n, d)))
            a, b = (ClipRows(one, np.ones(n, int)) for one in rows)
            found, replicates = kad.distances(a, [b], Bootstrap(BOOTSTRAP, i))
            estimates.append(intervals.basic(found[0], replicates[:, 0], n))
        centre = float(np.mean([e.value for e in estimates]))
        print(f"  d {d:3} n {n:3} shift {shift}: {np.mean([holds(e, centre) for e in estimates]):.3f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=200)
    draws = parser.parse_args().draws
    for part in (means, paired, distances, kads):
        part(draws)


if __name__ == "__main__":
    main()
