"""Codecs in transformers' files: shipped, in a directory, or on the hub."""

from collections.abc import Collection

import torch
from transformers import DacModel, EncodecModel, XcodecModel

from musicgen_lite.codec.dac import Dac
from musicgen_lite.codec.encodec import Encodec, Parts
from musicgen_lite.codec.neural import NeuralCodec
from musicgen_lite.codec.xcodec import Xcodec
from musicgen_lite.pretrained import Source, check_type, load_model, locate

PART = "audio_encoder"  # of a MusicGen checkpoint
CLASSES = {"encodec": EncodecModel, "dac": DacModel, "xcodec": XcodecModel}  # by model_type


def read(name: str, trusted: Collection[str], parameter: str) -> tuple[EncodecModel | DacModel | XcodecModel, Source]:
    """transformers' model of the codec called `name`, and its files."""
    source = locate(name, parameter, {"embedded": "codec"}, trusted)
    kind = check_type(source, *CLASSES, part=PART)
    return load_model(CLASSES[kind], source, PART), source


def load(
    name: str, *, num_codebooks: int, device: torch.device, trusted: Collection[str], parameter: str
) -> NeuralCodec:
    """The model called `name`; see `codec.load`."""
    model, source = read(name, trusted, parameter)
    rest = (source.pinned, source.revision, num_codebooks, device, parameter)
    if isinstance(model, DacModel):
        return Dac(model, *rest)
    if isinstance(model, XcodecModel):
        return Xcodec(model, *rest)
    levels = model.quantizer.layers
    vectors = [level.codebook.embed for level in levels]
    return Encodec(Parts(model.encoder.layers, model.decoder.layers, levels, vectors, model.config), *rest)
