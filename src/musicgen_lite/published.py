"""MusicGen's published checkpoints (transformers' MusicgenForConditionalGeneration) as models of this project.

A checkpoint holds a language model with its codec and its text encoder.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch

from musicgen_lite import codec, text
from musicgen_lite.codec.base import Codec
from musicgen_lite.errors import UserError
from musicgen_lite.models import LanguageModel
from musicgen_lite.models.musicgen import PROJECTION, assemble, check, describe
from musicgen_lite.pretrained import MUSICGEN, Source, check_type, damaged, locate, quiet, read_config, read_tensors
from musicgen_lite.text import TextEncoder

PARAMETER = "model.musicgen.name"
MAX_TEXT = 256  # tokens of a caption; MusicGen itself has no limit


@dataclass(frozen=True)
class PretrainedMusicGen:
    """The three parts of a checkpoint, and where they were found."""

    model: LanguageModel
    codec: Codec
    text: TextEncoder
    source: Source


def load(
    name: str,
    *,
    max_text: int = MAX_TEXT,
    device: str | torch.device = "cpu",
    trusted: Collection[str] = (),
    parameter: str = PARAMETER,
) -> PretrainedMusicGen:
    """The MusicGen called `name`, a directory or a model of the hub, for captions of up to `max_text` tokens.

    See `pretrained.locate` for names and `trusted`. UserError for a checkpoint that is no MusicGen, is of an unsupported kind
    (melody, stereo), or is damaged.
    """
    source = locate(name, parameter, {}, trusted)
    check_type(source, MUSICGEN)
    decoder = _decoder(source)
    coder = codec.load(
        name, num_codebooks=decoder["num_codebooks"], device=device, trusted=trusted, parameter=parameter
    )
    encoder = text.load(name, device=device, trusted=trusted, parameter=parameter)
    config = describe(
        decoder, text_dim=encoder.dim, max_text=max_text, frame_rate=float(coder.frame_rate), rate=coder.rate,
        codec=coder.fingerprint, text=encoder.fingerprint,
    )  # fmt: skip
    try:
        model = assemble(config, read_tensors(source, ("decoder.", f"{PROJECTION}.")))
    except KeyError as error:
        raise UserError(f"{source}: its weights lack {error}; fetch its files again") from error
    except RuntimeError as error:
        raise damaged(error, source) from error
    return PretrainedMusicGen(model.to(device), coder, encoder, source)


def _decoder(source: Source) -> dict[str, Any]:
    """The fields of the checkpoint's MusicgenDecoderConfig, defaults included."""
    from transformers.models.musicgen.configuration_musicgen import MusicgenDecoderConfig

    found = read_config(source, "decoder")
    try:
        with quiet():
            decoder = MusicgenDecoderConfig.from_dict(found).to_dict()
    except Exception as error:  # transformers raises several types here
        raise damaged(error, source) from error
    try:
        check(decoder)
    except ValueError as error:
        raise UserError(f"{source}: {error}") from error
    return decoder
