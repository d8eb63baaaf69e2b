"""EnCodec in transformers' files: shipped, in a directory, or on the hub."""

from collections.abc import Collection

import torch
from transformers import EncodecModel

from musicgen_lite.codec.encodec import PARAMETER, Encodec, Parts
from musicgen_lite.errors import UserError
from musicgen_lite.pretrained import Source, load_model, locate, read_config

PART = "audio_encoder"  # of a MusicGen checkpoint


def load(name: str, num_codebooks: int, device: torch.device, trusted: Collection[str] = ()) -> Encodec:
    """The EncodecModel called `name`; see `codec.load`."""
    source = locate(name, PARAMETER, {"embedded": "codec"}, trusted)
    model = _model(source)
    levels = model.quantizer.layers
    vectors = [level.codebook.embed for level in levels]
    parts = Parts(model.encoder.layers, model.decoder.layers, levels, vectors, model.config)
    return Encodec(parts, source.pinned, source.revision, num_codebooks, device)


def _model(source: Source) -> EncodecModel:
    """The model at `source` in float32, every weight of it read from the file."""
    found = read_config(source, PART)
    if found.get("model_type") != "encodec":
        raise UserError(
            f"{source}: model_type is {found.get('model_type')!r}, expected 'encodec'; name the directory or the hub's "
            "model of an EncodecModel or a MusicGen"
        )
    return load_model(EncodecModel, source, PART)
