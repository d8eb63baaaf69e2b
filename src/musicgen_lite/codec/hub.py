"""EnCodec in transformers' files: shipped, in a directory, or on the hub."""

from collections.abc import Collection

import torch
from transformers import EncodecModel

from musicgen_lite.codec.encodec import Encodec, Parts
from musicgen_lite.pretrained import Source, check_type, load_model, locate

PART = "audio_encoder"  # of a MusicGen checkpoint


def read(name: str, trusted: Collection[str], parameter: str) -> tuple[EncodecModel, Source]:
    """transformers' model of the codec called `name`, and its files."""
    source = locate(name, parameter, {"embedded": "codec"}, trusted)
    check_type(source, "encodec", PART)
    return load_model(EncodecModel, source, PART), source


def load(name: str, *, num_codebooks: int, device: torch.device, trusted: Collection[str], parameter: str) -> Encodec:
    """The EncodecModel called `name`; see `codec.load`."""
    model, source = read(name, trusted, parameter)
    levels = model.quantizer.layers
    vectors = [level.codebook.embed for level in levels]
    parts = Parts(model.encoder.layers, model.decoder.layers, levels, vectors, model.config)
    return Encodec(parts, source.pinned, source.revision, num_codebooks, device, parameter)
