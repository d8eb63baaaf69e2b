"""Conditions to audio, a batch at a time: what the stage `sample` computes, wherever it does."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from musicgen_lite import models
from musicgen_lite.clap import ClapScorer
from musicgen_lite.codec import Codec
from musicgen_lite.compute import Recipe
from musicgen_lite.generation.decode import Decoder, generate, prepare
from musicgen_lite.generation.sampling import Sampling
from musicgen_lite.models import LanguageModel
from musicgen_lite.models.core.conditions import Conditions


@dataclass(frozen=True)
class Rows:
    """Candidates that are generated together: their conditions on the CPU, and the seed of each.

    label: of a bar over their steps; without one there is none.
    """

    conditions: Conditions
    seeds: Sequence[int]
    label: str = ""


class Made(NamedTuple):
    """A candidate: its waveform `[length]`, and that in the space `[D]` of CLAP, by which candidates are ranked."""

    wave: np.ndarray
    embedded: np.ndarray


@dataclass(frozen=True)
class Candidates:
    """Candidates of `length` samples, of which `frames` frames are generated."""

    model: Recipe[LanguageModel]
    decoder: Recipe[Decoder]
    codec: Recipe[Codec]
    clap: Recipe[ClapScorer]
    sampling: Sampling
    frames: int
    length: int

    def name(self, piece: Rows) -> str:
        """See `Work.name`."""
        return f"{len(piece.seeds)} candidates from seed {piece.seeds[0]} on"

    def read(self, piece: Rows) -> Rows:
        """See `Work.read`."""
        return piece

    def compute(self, inputs: Rows) -> list[Made]:
        """See `Work.compute`; UserError where the rows do not fit into a GPU's memory."""
        model, given = self.model.model, inputs.conditions.to(self.model.model.head.device)
        count, decoder = len(inputs.seeds), self.decoder.model
        codes = generate(model, given, self.frames, self.sampling, inputs.seeds, count, inputs.label, decoder=decoder)
        # The last frame may reach beyond the length.
        waves = (wave[: self.length] for wave in self.codec.model.decode(codes).cpu().numpy())
        return [Made(wave, self.clap.model.embed_mean(wave, self.codec.model.rate)) for wave in waves]


def load_model(path: Path, device: str) -> LanguageModel:
    """The model of a file."""
    return models.load(path, device)[0]


def load_decoder(model: Recipe[LanguageModel], weights: str, kv_cache: str, device: str) -> Decoder:
    """The decoder of a model on the device where that is."""
    return prepare(model.model, weights, kv_cache)


def rows(conditions: Conditions, seeds: Sequence[int], size: int, label: str = "") -> Iterator[Rows]:
    """The rows of `conditions`, `size` at a time; `label` is numbered."""
    starts = range(0, len(seeds), size)
    for number, start in enumerate(starts, start=1):
        place = slice(start, start + size)
        yield Rows(conditions[place].to("cpu"), seeds[place], label and f"{label}, {number} of {len(starts)}")
