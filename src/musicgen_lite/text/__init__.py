"""Captions as sequences of vectors: `load` gives an encoder behind the `TextEncoder` protocol."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from musicgen_lite.text.base import TextEncoder, batches, encode_stored
from musicgen_lite.text.coverage import coverage_warning

if TYPE_CHECKING:  # torch takes seconds to load
    import torch

__all__ = ["TextEncoder", "batches", "coverage_warning", "encode_stored", "load", "tokenizer"]
PARAMETER = "text.name"


def load(
    name: str,
    *,
    device: "str | torch.device" = "cpu",
    trusted: Collection[str] = (),
    parameter: str = PARAMETER,
) -> TextEncoder:
    """The text encoder `name`, in float32 on `device`, in evaluation mode.

    name: `embedded` (shipped with the package), a directory, or a hub name: T5 and Flan-T5 of any size, such as t5-base or
    google/flan-t5-large; of a checkpoint of the whole model only the encoder is read. See `pretrained.locate` for names
    and `trusted`. Raises UserError naming `parameter` where it is unknown, out of reach, no T5, or its files are missing
    or damaged.
    """
    from musicgen_lite.text import hub

    return hub.load(name, device=device, trusted=trusted, parameter=parameter)


def tokenizer(name: str, *, trusted: Collection[str] = (), parameter: str = PARAMETER) -> Any:
    """The tokenizer of the text encoder called `name`, without its weights; see `load`."""
    from musicgen_lite.text import hub

    return hub.tokenizer(name, trusted=trusted, parameter=parameter)
