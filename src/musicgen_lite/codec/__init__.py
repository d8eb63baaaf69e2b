"""The neural audio codec: `load` gives one behind the `Codec` protocol."""

from collections.abc import Collection

import torch

from musicgen_lite.codec.base import Codec

__all__ = ["Codec", "load"]


def load(name: str, num_codebooks: int, device: str | torch.device = "cpu", trusted: Collection[str] = ()) -> Codec:
    """The codec `name` with its first `num_codebooks` codebooks, in float32 on `device`, in evaluation mode.

    name: `embedded` (shipped with the project), a directory that holds `config.json` and `model.safetensors`, or a
    model of the hub; see `pretrained.locate`, also for `trusted`. Raises UserError naming what is missing, damaged or
    not supported.
    """
    from musicgen_lite.codec.encodec import TransformersEncodec

    return TransformersEncodec(name, num_codebooks, torch.device(device), trusted)
