"""Candidates generated, ranked by CLAP and written."""

import shutil
from collections.abc import Iterable
from functools import partial
from itertools import chain, groupby
from pathlib import Path

from musicgen_lite.clap import ClapScorer
from musicgen_lite.compute import Engine
from musicgen_lite.compute.keeping import Keeping
from musicgen_lite.generation import best_of, item_seed
from musicgen_lite.io.samples import Sample, SampleWriter
from musicgen_lite.samples.candidates import Made
from musicgen_lite.samples.prompts import Item
from musicgen_lite.samples.systems import Generate

MADE = "made"  # what is kept until all is there


def write(
    folder: Path,
    items: Iterable[Item],
    generate: Generate,
    engine: Engine,
    clap: ClapScorer,
    rate: int,
    candidates: int,
    seed: int,
) -> None:
    """Generate `candidates` for each item, rank them by CLAP, and keep them all, at `rate` Hz.

    folder: where a run that was stopped goes on, with what it had made.
    """
    each, writer = range(candidates), SampleWriter(folder)
    for kind, same_kind in groupby(items, key=lambda item: item.kind):
        group = list(same_kind)
        seeds = [item_seed(seed, item.prompt_id, number) for item in group for number in each]
        keeping = Keeping(engine, folder / MADE / kind, Made._make)
        made, bpms = generate(keeping, group, seeds)
        fit = partial(clap.cosines, [item.caption for item in group])
        ranking = best_of([one.embedded for one in made], len(each), fit)
        again = chain.from_iterable(keeping.kept())  # the waves of all would fill the memory
        for number, (one, own_seed) in enumerate(zip(again, seeds, strict=True)):
            owner, candidate = divmod(number, len(each))
            item = group[owner]
            score, picked = float(ranking.scores[owner, candidate]), int(ranking.picked[owner]) == candidate
            sample = Sample(item.prompt_id, kind, candidate, own_seed, score, picked, item.caption, bpms[number])
            writer.add(sample, one.wave, rate)
    writer.close()
    shutil.rmtree(folder / MADE)
