"""Whether guidance makes samples fit their captions better: CLAP of all candidates at two scales, paired by caption.

`python -m benchmarks.guidance` takes about 3 minutes (4 candidates) on the clips and the model of a run. No candidate is picked: picking
by CLAP would hide what guidance does. The judge is a held-out CLAP.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from musicgen_lite.clap import Clap
from musicgen_lite.clap import load as load_clap
from musicgen_lite.generation import Sampling
from musicgen_lite.generator import Generator, load
from musicgen_lite.io.clips import ClipStore
from musicgen_lite.io.progress import track
from musicgen_lite.scoring.statistics import intervals
from musicgen_lite.scoring.statistics.intervals import Bootstrap


def fits(generator: Generator, claps: Sequence[Clap], caption: str, guidance: float, candidates: int) -> list[float]:
    """The mean cosine of the candidates with their caption, by each CLAP."""
    sampling = Sampling(top_k=250, guidance=guidance)
    music = generator.generate(caption, seconds=5.0, candidates=candidates, sampling=sampling)
    owners = [0] * candidates
    return [float(clap.similarity([caption], music.rate, list(music.candidates), owners).mean()) for clap in claps]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("data/model/model.safetensors"))
    parser.add_argument("--clips", type=Path, default=Path("data/clips"))
    parser.add_argument("--scales", type=float, nargs=2, default=(1.0, 3.0))
    parser.add_argument("--candidates", type=int, default=4)
    given = parser.parse_args()
    generator = load(given.model, clap="")
    claps = [load_clap("embedded"), load_clap("judge")]
    captions = ClipStore(given.clips).split("test")["caption"].tolist()
    found = [
        [fits(generator, claps, caption, scale, given.candidates) for scale in given.scales]
        for caption in track(captions, "guidance")
    ]
    values = np.array(found)  # [captions, scales, CLAP models]
    low, high = given.scales
    for number, name in enumerate(("CLAP", "judge")):
        at_low, at_high = values[:, 0, number], values[:, 1, number]
        gain = intervals.mean(at_high - at_low, Bootstrap())
        print(
            f"{name}: {at_low.mean():.3f} at guidance {low:g}, {at_high.mean():.3f} at {high:g}; difference "
            f"{gain.value:.3f} ({gain.low:.3f} to {gain.high:.3f}), {gain.n} captions of {given.candidates} candidates",
            flush=True,
        )


if __name__ == "__main__":
    main()
