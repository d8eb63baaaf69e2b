"""What the rest of the project asks of a text encoder."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np


class TextEncoder(Protocol):
    """One vector for each token of a text.

    name: by which the same weights are found again; revision: the hub's commit that they were read from, or ""
    dim: length D of the vectors; fingerprint: of the weights, the tokenizer and what else decides the output
    """

    name: str
    revision: str
    dim: int
    fingerprint: str

    def num_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, its end token included, before truncation."""
        ...

    def unknown_characters(self, text: str) -> list[str]:
        """The characters of a text that the tokenizer has no token for, in order, each once."""
        ...

    def coverage_warning(self, texts: Sequence[str], what: str) -> str:
        """A warning about texts that it can read only in part; see `coverage.coverage_warning`."""
        ...

    def encode(self, texts: Sequence[str], max_tokens: int) -> list[np.ndarray]:
        """Embed `texts`: for each a float32 array `[L, D]`, `1 <= L <= max_tokens`, whose values fit half precision.

        A longer text is truncated, keeping the end token. A text gives the same whatever else is in `texts`, up to rounding.
        Raises UserError naming a text whose vectors overflow half precision, in which they are stored.
        """
        ...


def encode_stored(encoder: TextEncoder, texts: Sequence[str], max_tokens: int) -> list[np.ndarray]:
    """`encode` in half precision, as the stage `embed` stores captions: a model generates from what it was trained on."""
    return [vectors.astype(np.float16) for vectors in encoder.encode(texts, max_tokens)]


def batches(lengths: Sequence[int], size: int) -> list[list[int]]:
    """The indices of texts of these `lengths`, `size` to a batch, those of equal length side by side.

    The longest come first, so that running out of memory shows at once.
    """
    order = sorted(range(len(lengths)), key=lambda number: -lengths[number])
    return [order[start : start + size] for start in range(0, len(order), size)]
