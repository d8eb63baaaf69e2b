"""Clips of a corpus as batches of tokens and conditions.

Where a clip is cropped, which of its texts is read and which of its conditions are dropped is a function of the seed, the
pass over the data and the clip (`keyed_random`).
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from musicgen_lite.io.beats import Beat
from musicgen_lite.models.core.conditions import Conditions
from musicgen_lite.training.corpus import Corpus
from musicgen_lite.training.keyed_random import keyed_choice, keyed_uniform


@dataclass(frozen=True)
class Batch:
    """Clips that go through the model together.

    `codes` int64 `[B, N_q, T]`, shorter clips padded with the special id K, which is what a model sees after the end of
    a clip; `mask` bool `[B, T]`, True on frames of the clip; `cells`: the valid cells of the batch; `step_cells`: those of
    the batch's whole optimizer step, over all micro-batches and devices.
    """

    codes: Tensor
    mask: Tensor
    conditions: Conditions
    cells: int
    step_cells: int

    def to(self, device: torch.device | str) -> "Batch":
        """The batch on another device; from pinned memory nothing waits for it."""
        codes, mask = (x.to(device, non_blocking=True) for x in (self.codes, self.mask))
        return dataclasses.replace(self, codes=codes, mask=mask, conditions=self.conditions.to(device))

    def pin_memory(self) -> "Batch":
        """The batch in memory that a GPU reads by itself."""
        codes, mask = self.codes.pin_memory(), self.mask.pin_memory()
        return dataclasses.replace(self, codes=codes, mask=mask, conditions=self.conditions.pin_memory())


@dataclass(frozen=True)
class SampleRef:
    """One clip in one pass over the data; in validation, where nothing is random, `epoch` is None."""

    clip: str
    epoch: int | None = None


class TokenDataset:
    """Turns references to clips of one corpus into batches.

    In training the target is cropped to `frames` at a random frame, one of the clip's texts is read, and each condition is
    dropped independently, with the probability `dropout_…`; in validation the crop is the first one, the text is the
    caption, and nothing is dropped. `dropout_audio` None leaves the audio prompts out (Model A), `dropout_beat` None the beats.
    """

    def __init__(
        self,
        corpus: Corpus,
        frames: int,
        seed: int,
        dropout_text: float,
        dropout_audio: float | None = None,
        dropout_beat: float | None = None,
    ) -> None:
        self.corpus = corpus
        self.frames = frames
        self.seed = seed
        self.dropout_text = dropout_text
        self.dropout_audio = dropout_audio
        self.dropout_beat = dropout_beat
        self._lengths = corpus.targets.lengths

    def cells(self, samples: Sequence[SampleRef]) -> int:
        """Number of valid cells of the clips, without reading them."""
        rows = self.corpus.targets.rows([sample.clip for sample in samples])
        return int(self._lengths[rows].clip(max=self.frames).sum()) * self.corpus.num_codebooks

    def _start(self, sample: SampleRef) -> int:
        """The frame of the clip at which its crop starts."""
        latest = int(self._lengths[self.corpus.targets.row(sample.clip)]) - self.frames
        if sample.epoch is None or latest <= 0:
            return 0
        return int(keyed_uniform(self.seed, sample.epoch, sample.clip, "crop") * (latest + 1))

    def _target(self, sample: SampleRef) -> np.ndarray:
        start = self._start(sample)
        return self.corpus.targets[sample.clip][start : start + self.frames]

    def _beat(self, sample: SampleRef) -> Beat:
        """The beat as the crop has it, whose first frame is another."""
        bpm, first = self.corpus.beats[sample.clip]
        return Beat(bpm, first - self._start(sample) / self.corpus.frame_rate)

    def _text(self, sample: SampleRef) -> np.ndarray:
        if sample.epoch is None:
            return self.corpus.text[sample.clip]
        suffixes = keyed_choice(list(self.corpus.variants.values()), self.seed, sample.epoch, sample.clip, "variant")
        return self.corpus.text[sample.clip + keyed_choice(suffixes, self.seed, sample.epoch, sample.clip, "wording")]

    def _kept(self, sample: SampleRef, condition: str, dropout: float) -> bool:
        return sample.epoch is None or keyed_uniform(self.seed, sample.epoch, sample.clip, condition) >= dropout

    def _conditions(self, samples: Sequence[SampleRef]) -> Conditions:
        clips = [] if self.dropout_audio is None else [sample.clip for sample in samples]
        conditions = Conditions.from_arrays(
            [self._text(sample) for sample in samples],
            [self.corpus.prompts[clip].T for clip in clips],
            self.corpus.codebook_size,
            [] if self.dropout_beat is None else [self._beat(sample) for sample in samples],
        )
        text = torch.tensor([self._kept(sample, "text", self.dropout_text) for sample in samples])
        audio = torch.tensor([self._kept(sample, "audio", self.dropout_audio or 0.0) for sample in samples])
        beat = torch.tensor([self._kept(sample, "beat", self.dropout_beat or 0.0) for sample in samples])
        return dataclasses.replace(
            conditions,
            has_text=conditions.has_text & text,
            has_prompt=conditions.has_prompt & audio,
            has_beat=conditions.has_beat & beat,
        )

    def batch(self, samples: Sequence[SampleRef], step_cells: int | None = None) -> Batch:
        """Read the clips; without `step_cells` the batch counts as an optimizer step of its own."""
        targets = [torch.from_numpy(self._target(sample).astype(np.int64)) for sample in samples]
        lengths = torch.tensor([len(target) for target in targets])
        codes = torch.nn.utils.rnn.pad_sequence(targets, batch_first=True, padding_value=self.corpus.codebook_size)
        cells = self.cells(samples)
        return Batch(
            codes=codes.transpose(1, 2).contiguous(),
            mask=torch.arange(codes.shape[1]) < lengths[:, None],
            conditions=self._conditions(samples),
            cells=cells,
            step_cells=cells if step_cells is None else step_cells,
        )
