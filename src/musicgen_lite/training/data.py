"""Batches of tokens and conditions, in an order that depends on the parameters alone.

Whatever is drawn at random (the order of the clips, where a clip is cropped, which of its texts is read, which of its
conditions are dropped) is a function of the seed, the pass over the data and the clip. Workers, batch sizes, devices, the
type of the model and the step at which a run was resumed have no part in it.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from musicgen_lite.errors import UserError
from musicgen_lite.io.arrays import ArrayStore
from musicgen_lite.models.core.conditions import Conditions, stack_prompts

Choice = TypeVar("Choice")


def hashed(*key: str | int) -> int:
    """A 64-bit number that depends on `key` alone; different keys give independent numbers."""
    return int.from_bytes(hashlib.blake2b(repr(key).encode(), digest_size=8).digest(), "little")


def uniform(*key: str | int) -> float:
    """A number in [0, 1) that depends on `key` alone."""
    return (hashed(*key) >> 11) / 2**53


def drawn(choices: Sequence[Choice], *key: str | int) -> Choice:
    """One of `choices`, each equally likely, that depends on `key` alone."""
    return choices[int(uniform(*key) * len(choices))]


def _meta(store: ArrayStore, *names: str) -> list[Any]:
    missing = [name for name in names if name not in store.meta]
    if missing:
        raise UserError(
            f"{store.directory}: meta.json lacks {', '.join(missing)}; run `dvc repro` to rebuild the store"
        )
    return [store.meta[name] for name in names]


class Corpus:
    """The stores of one corpus (target tokens, prompt tokens, text), opened and checked against each other.

    `tokens_dir` holds the stores `target` and `prompt` (uint16 `[T, N_q]`), `text_dir` is a store of float16 `[L, D]`.
    `variants`: the texts that training draws from, for each variant what follows a clip's id in the keys of its texts;
    `names`: of the codec and the text encoder. UserError where clips lack a prompt or a text, and where two codecs or a
    code outside the codebook show up.
    """

    def __init__(self, tokens_dir: str | Path, text_dir: str | Path) -> None:
        self.targets = ArrayStore(Path(tokens_dir) / "target")
        self.prompts = ArrayStore(Path(tokens_dir) / "prompt")
        self.text = ArrayStore(text_dir)
        codec = ("fingerprint", "codebook_size", "num_codebooks", "frame_rate", "rate", "name")
        found = _meta(self.targets, *codec)
        for name, target, prompt in zip(codec, found, _meta(self.prompts, *codec), strict=True):
            if target != prompt:
                raise UserError(
                    f"{self.prompts.directory}: {name} of its codec is {prompt}, that of {self.targets.directory} is "
                    f"{target}; both must come from one codec: run `dvc repro tokenize`"
                )
        self.codec: str = found[0]
        self.codebook_size, self.num_codebooks = int(found[1]), int(found[2])
        self.frame_rate, self.rate = float(found[3]), int(found[4])
        self.encoder: str
        self.encoder, self.text_dim, self.max_text = _meta(self.text, "fingerprint", "dim", "max_tokens")
        variants: dict[str, list[str]]
        [variants] = _meta(self.text, "variants")
        self.variants = dict(sorted(variants.items()))
        self.names = {"codec": str(found[5]), "text": str(_meta(self.text, "name")[0])}
        self._check_clips()
        self.prompt_frames = int(self.prompts.index["length"].max())  # those of short clips are shorter

    def _check_clips(self) -> None:
        clips, index = self.targets.keys, self.targets.index
        suffixes = [suffix for variant in self.variants.values() for suffix in variant if suffix]
        told = [key + suffix for key in index.loc[index["split"] == "train", "key"] for suffix in suffixes]
        for store, keys in ((self.prompts, clips), (self.text, clips + told)):
            missing = [key for key in keys if key not in store]
            if missing:
                raise UserError(
                    f"{store.directory}: {len(missing)} of the {len(keys)} entries for the {len(clips)} clips of "
                    f"{self.targets.directory} are missing, {missing[0]!r} first; both must come from the same clips: "
                    "run `dvc repro`"
                )
        for store in (self.targets, self.prompts):
            for key in self.targets.keys:
                codes = store[key]
                if not len(codes) or codes.shape[1] != self.num_codebooks:
                    raise UserError(
                        f"{store.directory}: clip {key!r} has codes of shape {codes.shape}, expected "
                        f"[frames, {self.num_codebooks}] with a frame at least; run `dvc repro tokenize`"
                    )
                if int(codes.max()) >= self.codebook_size:
                    raise UserError(
                        f"{store.directory}: clip {key!r} has the code {int(codes.max())}, but the codec's codes are "
                        f"0 to {self.codebook_size - 1}; run `dvc repro tokenize`"
                    )

    def clips(self, split: str) -> list[str]:
        """The ids of a split, sorted; UserError if there are none."""
        index = self.targets.index
        ids = sorted(index.loc[index["split"] == split, "key"].tolist())
        if not ids:
            raise UserError(
                f"{self.targets.directory}: no clip in the split {split!r}; give the source of data more clips or "
                "another share for this split"
            )
        return ids

    def facts(self) -> dict[str, Any]:
        """What the corpus is, for provenance and to tell one training from another."""
        index = self.targets.index.sort_values("key")
        rows = repr(index[["key", "split", "length"]].values.tolist())
        return {
            "codec": self.codec,
            "text": self.encoder,
            "variants": list(self.variants),
            "codebook_size": self.codebook_size,
            "num_codebooks": self.num_codebooks,
            "clips": hashlib.sha256(rows.encode()).hexdigest()[:16],
        }


@dataclass(frozen=True)
class Batch:
    """Clips that go through the model together.

    `codes` int64 `[B, N_q, T]`, shorter clips filled up with the special id K, which is what a model sees after the
    end of a clip; `mask` bool `[B, T]`, True on frames of the clip; `cells`: the valid cells of the batch; `step_cells`:
    those of the whole optimizer step that the batch is a part of, over all micro-batches and devices.
    """

    codes: Tensor
    mask: Tensor
    conditions: Conditions
    cells: int
    step_cells: int

    def to(self, device: torch.device | str) -> "Batch":
        """The batch on another device."""
        return dataclasses.replace(
            self, codes=self.codes.to(device), mask=self.mask.to(device), conditions=self.conditions.to(device)
        )


@dataclass(frozen=True)
class Visit:
    """One clip in one pass over the data; `None` for the pass is validation, where nothing is random."""

    clip: str
    epoch: int | None = None


class TokenDataset:
    """Turns visits to clips of one corpus into batches.

    In training the target is cropped to `frames` at a random place, one of the clip's texts is read, and each condition
    is dropped on its own by its share; in validation the crop is the first one, the text is the caption, and nothing is
    dropped. `dropout_audio` None leaves the audio prompts out (Model A).
    """

    def __init__(
        self, corpus: Corpus, frames: int, seed: int, dropout_text: float, dropout_audio: float | None = None
    ) -> None:
        self.corpus = corpus
        self.frames = frames
        self.seed = seed
        self.dropout_text = dropout_text
        self.dropout_audio = dropout_audio
        index = corpus.targets.index
        self._lengths = dict(zip(index["key"].tolist(), index["length"].tolist(), strict=True))

    def cells(self, visits: Sequence[Visit]) -> int:
        """Valid cells that the clips will have, known before they are read."""
        return sum(min(self._lengths[visit.clip], self.frames) for visit in visits) * self.corpus.num_codebooks

    def _target(self, visit: Visit) -> np.ndarray:
        target = self.corpus.targets[visit.clip]
        spare = len(target) - self.frames
        if visit.epoch is None or spare <= 0:
            return target[: self.frames]
        start = int(uniform(self.seed, visit.epoch, visit.clip, "crop") * (spare + 1))
        return target[start : start + self.frames]

    def _text(self, visit: Visit) -> np.ndarray:
        if visit.epoch is None:
            return self.corpus.text[visit.clip]
        suffixes = drawn(list(self.corpus.variants.values()), self.seed, visit.epoch, visit.clip, "variant")
        return self.corpus.text[visit.clip + drawn(suffixes, self.seed, visit.epoch, visit.clip, "wording")]

    def _kept(self, visit: Visit, condition: str, dropout: float) -> bool:
        return visit.epoch is None or uniform(self.seed, visit.epoch, visit.clip, condition) >= dropout

    def _conditions(self, visits: Sequence[Visit]) -> Conditions:
        texts = [torch.from_numpy(self._text(visit).astype(np.float32)) for visit in visits]
        prompt = None
        if self.dropout_audio is not None:
            prompts = [self.corpus.prompts[visit.clip].T for visit in visits]
            prompt = stack_prompts(prompts, self.corpus.codebook_size)
        given = Conditions.from_texts(texts, prompt)
        text = torch.tensor([self._kept(visit, "text", self.dropout_text) for visit in visits])
        audio = torch.tensor([self._kept(visit, "audio", self.dropout_audio or 0.0) for visit in visits])
        return dataclasses.replace(given, has_text=given.has_text & text, has_prompt=given.has_prompt & audio)

    def batch(self, visits: Sequence[Visit], step_cells: int | None = None) -> Batch:
        """Read the clips; without `step_cells` the batch counts as an optimizer step of its own."""
        targets = [torch.from_numpy(self._target(visit).astype(np.int64)) for visit in visits]
        lengths = torch.tensor([len(target) for target in targets])
        codes = torch.nn.utils.rnn.pad_sequence(targets, batch_first=True, padding_value=self.corpus.codebook_size)
        cells = self.cells(visits)
        return Batch(
            codes=codes.transpose(1, 2).contiguous(),
            mask=torch.arange(codes.shape[1]) < lengths[:, None],
            conditions=self._conditions(visits),
            cells=cells,
            step_cells=cells if step_cells is None else step_cells,
        )


class Order:
    """An endless stream of visits: pass after pass over the clips, each in an order of its own."""

    def __init__(self, clips: Sequence[str], seed: int) -> None:
        self.clips = sorted(clips)
        self.seed = seed
        # Two passes are enough: a step reaches from one into the next. A small corpus may need more, and makes them anew.
        self._permutation = functools.lru_cache(maxsize=2)(self._shuffle)

    def _shuffle(self, epoch: int) -> np.ndarray:
        return np.random.default_rng(hashed(self.seed, epoch, "order")).permutation(len(self.clips))

    def __getitem__(self, position: int) -> Visit:
        epoch, place = divmod(position, len(self.clips))
        return Visit(self.clips[self._permutation(epoch)[place]], epoch)

    def step(self, step: int, size: int) -> list[Visit]:
        """The `size` visits of an optimizer step."""
        return [self[position] for position in range(step * size, (step + 1) * size)]


@dataclass(frozen=True)
class Share:
    """What one process does of a batch that several make together: its `rank` among `world` processes."""

    rank: int = 0
    world: int = 1


@dataclass(frozen=True)
class StepLoader:
    """The batches of the optimizer steps `first` to `stop`, entered at `start` when a run is resumed.

    Each step takes the next `effective_batch_size` visits, in micro-batches of `batch_size` dealt out to the processes
    in turn, so that a step sees the same clips with one process and with many. The length is that of the whole stretch.
    """

    dataset: TokenDataset
    order: Order
    batch_size: int
    effective_batch_size: int
    first: int
    start: int
    stop: int
    share: Share = Share()

    def __len__(self) -> int:
        return (self.stop - self.first) * self.effective_batch_size // (self.batch_size * self.share.world)

    def __iter__(self) -> Iterator[Batch]:
        for step in range(self.start, self.stop):
            visits = self.order.step(step, self.effective_batch_size)
            cells = self.dataset.cells(visits)
            jump = self.batch_size * self.share.world
            for begin in range(self.share.rank * self.batch_size, len(visits), jump):
                yield self.dataset.batch(visits[begin : begin + self.batch_size], cells)


@dataclass(frozen=True)
class ClipLoader:
    """Each clip once, as in validation; the last batch may be short.

    Batches are dealt out to the processes in turn. All make equally many: one that has no clip left repeats its first
    batch with an empty mask, which counts for nothing.
    """

    dataset: TokenDataset
    clips: Sequence[str]
    batch_size: int
    share: Share = Share()

    def __len__(self) -> int:
        return -(-len(self.clips) // (self.batch_size * self.share.world))

    def __iter__(self) -> Iterator[Batch]:
        for turn in range(len(self)):
            begin = (turn * self.share.world + self.share.rank) * self.batch_size
            visits = [Visit(clip) for clip in self.clips[begin : begin + self.batch_size]]
            if visits:
                yield self.dataset.batch(visits)
            else:
                spare = self.dataset.batch([Visit(self.clips[0])])
                yield dataclasses.replace(spare, mask=torch.zeros_like(spare.mask), cells=0)
