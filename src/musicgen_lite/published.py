"""MusicGen's published checkpoints (transformers' MusicgenForConditionalGeneration) as models of this project, and back.

A checkpoint holds a language model with its codec and its text encoder.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from musicgen_lite import codec, models, patterns, text
from musicgen_lite.codec.base import Codec
from musicgen_lite.errors import UserError
from musicgen_lite.models import LanguageModel, ModelConfig
from musicgen_lite.models.musicgen import DECODER, PROJECTION, assemble, check, describe, disassemble
from musicgen_lite.pretrained import (
    MUSICGEN,
    Source,
    check_type,
    damaged,
    locate,
    quiet,
    read_config,
    read_tensors,
    shipped,
)
from musicgen_lite.text import TextEncoder

PARAMETER = "model.musicgen.name"
MAX_TEXT = 256  # tokens of a caption; MusicGen itself has no limit


@dataclass(frozen=True)
class Described:
    """A checkpoint without the weights of its language model: its files, the model's config, and its other two parts."""

    source: Source
    config: ModelConfig
    codec: Codec
    text: TextEncoder


@dataclass(frozen=True)
class PretrainedMusicGen:
    """The three parts of a checkpoint, and where they were found."""

    model: LanguageModel
    codec: Codec
    text: TextEncoder
    source: Source


def read(
    name: str,
    *,
    max_text: int = MAX_TEXT,
    device: str | torch.device = "cpu",
    trusted: Collection[str] = (),
    parameter: str = PARAMETER,
) -> Described:
    """What the MusicGen called `name` is; see `load`."""
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
    return Described(source, config, coder, encoder)


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
    found = read(name, max_text=max_text, device=device, trusted=trusted, parameter=parameter)
    try:
        model = assemble(found.config, read_tensors(found.source, (DECODER, f"{PROJECTION}.")))
    except KeyError as error:
        raise UserError(f"{found.source}: its weights lack {error}; fetch its files again") from error
    except RuntimeError as error:
        raise damaged(error, found.source) from error
    return PretrainedMusicGen(model.to(device), found.codec, found.text, found.source)


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


def decoder_config(config: ModelConfig) -> Any:
    """transformers' MusicgenDecoderConfig of a model's size: the inverse of `describe`."""
    from transformers.models.musicgen.configuration_musicgen import MusicgenDecoderConfig

    special = config.codebook_size
    return MusicgenDecoderConfig(
        vocab_size=config.codebook_size, num_codebooks=config.num_codebooks, hidden_size=config.d_model,
        num_hidden_layers=config.layers, num_attention_heads=config.heads, ffn_dim=4 * config.d_model,
        max_position_embeddings=patterns.get(config.pattern).positions(config.max_frames, config.num_codebooks),
        dropout=0.0, layerdrop=0.0, pad_token_id=special, bos_token_id=special, eos_token_id=None,
    )  # fmt: skip


def ready(model: Any) -> Any:
    """A MusicgenForConditionalGeneration that was put together, with the special ids that generating needs, in eval mode."""
    settings = model.generation_config
    settings.pad_token_id = settings.bos_token_id = settings.decoder_start_token_id = model.config.decoder.vocab_size
    settings.eos_token_id = None
    return model.eval()


def write(folder: Path, path: Path, trusted: Collection[str] = ()) -> None:
    """Write the model file at `path`, one of type musicgen, into `folder` as transformers' MusicgenForConditionalGeneration.

    Its codec and text encoder come along, found by the names in the file, which `trusted` pickles may have. UserError for a
    model of another type, where these are not the ones that it was trained with, and where transformers has no place for its
    weights.
    """
    from transformers import EncodecFeatureExtractor, MusicgenForCausalLM, MusicgenForConditionalGeneration

    from musicgen_lite.codec import encodec_package
    from musicgen_lite.codec import hub as codecs
    from musicgen_lite.codec.encodec import Encodec
    from musicgen_lite.text import hub as texts

    model, extra = models.load(path)
    names, config = {"codec": "embedded", "text": "embedded", **extra.get("names", {})}, model.config
    if config.type != "musicgen":
        raise UserError(
            f"{path}: a model of type {config.type}, which transformers does not have; only one of type musicgen becomes its MusicGen"
        )
    if encodec_package.is_named(names["codec"]):
        raise UserError(f"{path}: its codec {names['codec']!r} is one of the encodec package, not of transformers")
    coder = codec.load(names["codec"], num_codebooks=config.num_codebooks, trusted=trusted)
    if not isinstance(coder, Encodec):
        raise UserError(
            f"{path}: its codec {names['codec']!r} is no EnCodec, and transformers' MusicGen decodes with no other"
        )
    encoder = text.load(names["text"], trusted=trusted)
    shipped.check_parts(path, config, coder.fingerprint, encoder.fingerprint)
    try:
        tensors = disassemble(model)
    except ValueError as error:
        raise UserError(f"{path}: {error}; no transformers directory can be written of it") from error
    audio_encoder, _ = codecs.read(names["codec"], trusted, "codec.name")
    text_encoder, tokenizer, _ = texts.read(names["text"], trusted, "text.name")
    with quiet():
        whole = MusicgenForConditionalGeneration(
            text_encoder=text_encoder, audio_encoder=audio_encoder, decoder=MusicgenForCausalLM(decoder_config(config))
        )
        found = whole.load_state_dict(tensors, strict=False)
        own = [name for name in found.missing_keys if name.startswith((DECODER, f"{PROJECTION}."))]
        assert not own, own
        assert not found.unexpected_keys, found.unexpected_keys
        # As the published ones generate where they are told nothing else.
        ready(whole).generation_config.update(do_sample=True, guidance_scale=3.0, max_length=config.max_frames)
        whole.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        EncodecFeatureExtractor(feature_size=1, sampling_rate=config.rate).save_pretrained(folder)
