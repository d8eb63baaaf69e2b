"""The neural audio codec: `load` gives one behind the `Codec` protocol."""

import torch

from musicgen_lite import weights
from musicgen_lite.codec.base import Codec

__all__ = ["Codec", "load"]

EMBEDDED = "embedded"


def load(name: str, num_codebooks: int, revision: str | None = None, device: str | torch.device = "cpu") -> Codec:
    """The codec `name` with its first `num_codebooks` codebooks, in float32 on `device`, in evaluation mode.

    name: `embedded` (shipped with the project), a directory that holds `config.json` and `model.safetensors`, or a
    model of the hub, there at `revision`. Raises UserError naming what is missing, damaged or not supported.
    """
    from musicgen_lite.codec.encodec import TransformersEncodec

    source = str(weights.path("codec")) if name == EMBEDDED else name
    return TransformersEncodec(name, source, num_codebooks, revision, torch.device(device))
