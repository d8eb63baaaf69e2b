"""Texts to vectors, a batch at a time: what the stage `embed` computes, wherever it does."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from musicgen_lite.compute.work import Recipe
from musicgen_lite.device import fitting
from musicgen_lite.text.base import TextEncoder, encode_stored


@dataclass(frozen=True)
class TextEmbedding:
    """The vectors `[L, D]` of each text in half precision, `1 <= L <= max_tokens`."""

    encoder: Recipe[TextEncoder]
    max_tokens: int

    def name(self, piece: Sequence[str]) -> str:
        """See `Work.name`."""
        return f"the texts {piece[0][:60]!r} to {piece[-1][:60]!r}"

    def read(self, piece: Sequence[str]) -> Sequence[str]:
        """See `Work.read`."""
        return piece

    def compute(self, inputs: Sequence[str]) -> list[np.ndarray]:
        """See `Work.compute`; UserError where a batch does not fit into a GPU's memory."""
        with fitting("text.batch_size", len(inputs), "lower text.max_tokens"):
            return encode_stored(self.encoder.model, inputs, self.max_tokens)
