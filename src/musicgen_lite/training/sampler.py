"""Which clips make the batches of a training and of a validation, and in which order.

The order depends on the seed and the clips' ids alone.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from musicgen_lite.io.prefetch import prefetched
from musicgen_lite.training.dataset import Batch, SampleRef, TokenDataset
from musicgen_lite.training.keyed_random import stable_hash


class EpochSampler:
    """An endless stream of samples: pass after pass over the clips, each pass shuffled by its own number."""

    def __init__(self, clips: Sequence[str], seed: int) -> None:
        self.clips = sorted(clips)
        self.seed = seed
        # Two are enough: a step reaches from one pass into the next. A small corpus may need more, and shuffles again.
        self._permutation = functools.lru_cache(maxsize=2)(self._shuffle)

    def _shuffle(self, epoch: int) -> np.ndarray:
        return np.random.default_rng(stable_hash(self.seed, epoch, "order")).permutation(len(self.clips))

    def __getitem__(self, position: int) -> SampleRef:
        epoch, place = divmod(position, len(self.clips))
        return SampleRef(self.clips[self._permutation(epoch)[place]], epoch)

    def step(self, step: int, size: int) -> list[SampleRef]:
        """The `size` samples of an optimizer step."""
        return [self[position] for position in range(step * size, (step + 1) * size)]


@dataclass(frozen=True)
class RankShard:
    """The share of one process in a batch that several compute together: its `rank` among `world` processes."""

    rank: int = 0
    world: int = 1


Make = Callable[[Callable[[Any], Batch], Iterable[Any]], Iterator[Batch]]


def pinned(batch: Callable[[Any], Batch], items: Iterable[Any]) -> Iterator[Batch]:
    """`map`, for a GPU: batches are made ahead by a thread, in memory from which they are copied while it computes."""
    return prefetched(lambda item: batch(item).pin_memory(), items)


@dataclass(frozen=True)
class StepLoader:
    """The batches of the optimizer steps `first` to `stop`, entered at `start` when a run is resumed.

    Each step takes the next `effective_batch_size` samples, in micro-batches of `batch_size` that the processes take in
    turn, so that a step sees the same clips with one process and with many. The length counts from `first`. `make`: `map`, or
    `pinned` for a GPU.
    """

    dataset: TokenDataset
    sampler: EpochSampler
    batch_size: int
    effective_batch_size: int
    first: int
    start: int
    stop: int
    shard: RankShard = RankShard()
    make: Make = map

    def __len__(self) -> int:
        return (self.stop - self.first) * self.effective_batch_size // (self.batch_size * self.shard.world)

    def __iter__(self) -> Iterator[Batch]:
        return self.make(lambda part: self.dataset.batch(*part), self._parts())

    def _parts(self) -> Iterator[tuple[list[SampleRef], int]]:
        """The samples of each micro-batch, and the valid cells of its step."""
        for step in range(self.start, self.stop):
            samples = self.sampler.step(step, self.effective_batch_size)
            cells = self.dataset.cells(samples)
            stride = self.batch_size * self.shard.world
            for start in range(self.shard.rank * self.batch_size, len(samples), stride):
                yield samples[start : start + self.batch_size], cells


@dataclass(frozen=True)
class ClipLoader:
    """Each clip once, as in validation; the last batch may be short.

    The processes take batches in turn and equally many: one that has no clip left yields a batch with an empty mask,
    which adds nothing to any sum.
    """

    dataset: TokenDataset
    clips: Sequence[str]
    batch_size: int
    shard: RankShard = RankShard()
    make: Make = map

    def __len__(self) -> int:
        return -(-len(self.clips) // (self.batch_size * self.shard.world))

    def __iter__(self) -> Iterator[Batch]:
        return self.make(self._batch, range(len(self)))

    def _batch(self, turn: int) -> Batch:
        start = (turn * self.shard.world + self.shard.rank) * self.batch_size
        samples = [SampleRef(clip) for clip in self.clips[start : start + self.batch_size]]
        if samples:
            return self.dataset.batch(samples)
        padding = self.dataset.batch([SampleRef(self.clips[0])])
        return dataclasses.replace(padding, mask=torch.zeros_like(padding.mask), cells=0)
