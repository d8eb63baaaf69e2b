"""The corpora of several rounds as one, and a training that takes in further rounds as they are written."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

import pretraining  # noqa: F401  (puts this tree's src first)
from musicgen_lite.io.arrays import INDEX, META
from musicgen_lite.io.files import atomic_dir, read_json, write_json, write_table
from musicgen_lite.training.corpus import Corpus
from musicgen_lite.training.datamodule import TokenData
from musicgen_lite.training.dataset import TokenDataset
from musicgen_lite.training.sampler import EpochSampler, StepLoader
from musicgen_lite.training.setup import TrainingSetup

STORES = ("tokens/target", "tokens/prompt", "text")


def complete(corpora: Path, first: int) -> list[int]:
    """The rounds from `first` on that are written whole, one after the other."""
    rounds: list[int] = []
    # Of a round's stores the text is closed last.
    while (corpora / f"{first + len(rounds):02d}" / STORES[-1] / META).is_file():
        rounds.append(first + len(rounds))
    return rounds


def joined(folders: Sequence[Path], out: Path) -> Corpus:
    """One corpus of all clips in several; clips that several have, as the held-out ones, are those of the first."""
    with atomic_dir(out) as part:
        for store in STORES:
            _join([folder / store for folder in folders], part / store)
    return Corpus(out / "tokens", out / "text")


def _join(stores: Sequence[Path], out: Path) -> None:
    """Write a store that has the shards of all, as links, and an index of its own."""
    out.mkdir(parents=True)
    tables, shards = [], 0
    for store in stores:
        index = pd.read_parquet(store / INDEX)
        own = read_json(store / META)["shards"]
        for shard in range(own):
            (out / f"shard-{shards + shard:05d}.npy").hardlink_to(store / f"shard-{shard:05d}.npy")
        tables.append(index.assign(shard=index["shard"] + shards))
        shards += own
    index = pd.concat(tables, ignore_index=True).drop_duplicates("key", ignore_index=True)
    write_table(out / INDEX, index)
    write_json(out / META, {**read_json(stores[0] / META), "shards": shards, "arrays": len(index)})


class GrowingData(TokenData):
    """Batches from all rounds that are complete when a validation interval begins.

    The order of a pass depends on when a round was complete, so that such a training cannot be repeated bit for bit.
    """

    def __init__(self, setup: TrainingSetup, corpora: Path, rounds: list[int], work: Path) -> None:
        """rounds: the first one; those that follow are added to the list."""
        super().__init__(setup)
        self.corpora, self.rounds, self.work = corpora, rounds, work

    def train_dataloader(self) -> StepLoader:
        rounds = complete(self.corpora, self.rounds[0])
        if len(rounds) > len(self.rounds):
            self.rounds[:] = rounds
            folders = [self.corpora / f"{number:02d}" for number in rounds]
            corpus, old = joined(folders, self.work / f"{rounds[-1]:02d}"), self.parts.dataset
            dataset = TokenDataset(corpus, old.frames, old.seed, old.dropout_text, old.dropout_audio, old.dropout_beat)
            self.parts = dataclasses.replace(self.parts, corpus=corpus, dataset=dataset)
            self.sampler = EpochSampler(corpus.clips("train"), old.seed)
            print(f"train: {len(self.sampler.clips)} clips in {len(rounds)} rounds", flush=True)
        return super().train_dataloader()
