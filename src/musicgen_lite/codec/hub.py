"""EnCodec in transformers' files: shipped, in a directory, or on the hub."""

from collections.abc import Collection

import torch
from transformers import EncodecModel

from musicgen_lite.codec.encodec import Encodec, Parts
from musicgen_lite.pretrained import check_type, load_model, locate

PART = "audio_encoder"  # of a MusicGen checkpoint


def load(name: str, *, num_codebooks: int, device: torch.device, trusted: Collection[str], parameter: str) -> Encodec:
    """The EncodecModel called `name`; see `codec.load`."""
    source = locate(name, parameter, {"embedded": "codec"}, trusted)
    check_type(source, "encodec", PART)
    model = load_model(EncodecModel, source, PART)
    levels = model.quantizer.layers
    vectors = [level.codebook.embed for level in levels]
    parts = Parts(model.encoder.layers, model.decoder.layers, levels, vectors, model.config)
    return Encodec(parts, source.pinned, source.revision, num_codebooks, device, parameter)
