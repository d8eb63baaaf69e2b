"""The neural audio codec: `load` gives one behind the `Codec` protocol."""

from collections.abc import Collection

import torch

from musicgen_lite.codec.base import Codec, describe

__all__ = ["Codec", "describe", "load"]


def load(
    name: str,
    *,
    num_codebooks: int,
    device: str | torch.device = "cpu",
    trusted: Collection[str] = (),
    parameter: str = "codec.name",
) -> Codec:
    """The codec `name` with its first `num_codebooks` codebooks, in float32 on `device`, in evaluation mode.

    name: `embedded` (shipped with the project), a directory that holds `config.json` and `model.safetensors`, a model
    of the hub (see `pretrained.locate`, also for `trusted`), or of the `encodec` package `encodec_24khz` or a path that
    ends in .th (see `codec.encodec_package`). Raises UserError naming `parameter` and what is missing, damaged or not supported.
    """
    from musicgen_lite.codec import encodec_package, hub

    backend = encodec_package if encodec_package.is_named(name) else hub
    return backend.load(
        name, num_codebooks=num_codebooks, device=torch.device(device), trusted=trusted, parameter=parameter
    )
