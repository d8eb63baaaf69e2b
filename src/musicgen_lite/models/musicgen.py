"""MusicGen's own decoder (Copet et al. 2023, arXiv:2306.05284), so that published weights run here as they are.

It differs from Model B in its memory, captions alone without positions or norms, and in the amplitude of its positions.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from musicgen_lite.models.core.base import LanguageModel
from musicgen_lite.models.core.conditions import Conditions
from musicgen_lite.models.core.config import ModelConfig
from musicgen_lite.models.core.transformer import Context, CrossBlock, key_bias

TRAINED_SECONDS = 30.0  # the length of the crops that the published models were trained on
DECODER = "decoder."  # before the names of the language model's weights in a checkpoint
PROJECTION = "enc_to_dec_proj"  # of the text encoder's states, among a checkpoint's weights


class MusicGenModel(LanguageModel):
    """Memory: [zero vector, caption tokens], the tokens projected to d_model.

    With a caption, only its tokens are visible. Without one, only the zero vector is: cross-attention has no bias and adds
    zero, as MusicGen's does where all of its memory is masked. Audio prompts are ignored.
    """

    position_scale = 1.0

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(
            config, [CrossBlock(config.d_model, config.heads, config.dropout) for _ in range(config.layers)]
        )
        self.text_projection = nn.Linear(config.text_dim, config.d_model)
        self.initialise()

    def context(self, conditions: Conditions) -> Context:
        """The caption `[B, L, D_t]` as a memory `[B, 1 + L, d]`; ValueError if L is over the config's `max_text`."""
        if conditions.text.shape[1] > self.config.max_text:
            raise ValueError(
                f"a text of {conditions.text.shape[1]} tokens is longer than max_text ({self.config.max_text})"
            )
        mask = conditions.text_mask & conditions.has_text[:, None]
        # Zeros where hidden: not even a NaN in the padding can reach the output.
        text = conditions.text.masked_fill(~mask[:, :, None], 0.0).to(self.text_projection.weight.dtype)
        memory = F.pad(self.text_projection(text), (0, 0, 1, 0))
        return Context(memory=memory, memory_bias=key_bias(torch.cat([~mask.any(dim=1, keepdim=True), mask], dim=1)))


def tensor_names(layers: int, num_codebooks: int) -> dict[str, list[str]]:
    """For each parameter of the decoder (Model B has the same) its parts in transformers' MusicgenForCausalLM.

    Several parts are concatenated along the first axis.
    """
    names = {
        "code_embedding.weight": [f"model.decoder.embed_tokens.{q}.weight" for q in range(num_codebooks)],
        "head": [f"lm_heads.{q}.weight" for q in range(num_codebooks)],
    }
    names |= {f"norm.{end}": [f"model.decoder.layer_norm.{end}"] for end in ("weight", "bias")}
    linear = {
        "attention.qkv": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
        "attention.out": ["self_attn.out_proj"],
        "cross.q": ["encoder_attn.q_proj"],
        "cross.kv": ["encoder_attn.k_proj", "encoder_attn.v_proj"],
        "cross.out": ["encoder_attn.out_proj"],
        "up": ["fc1"],
        "down": ["fc2"],
    }
    norms = {
        "attention_norm": "self_attn_layer_norm", "cross_norm": "encoder_attn_layer_norm", "mlp_norm": "final_layer_norm",
    }  # fmt: skip
    for i in range(layers):
        block, layer = f"blocks.{i}.", f"model.decoder.layers.{i}."
        names |= {f"{block}{own}.weight": [f"{layer}{one}.weight" for one in parts] for own, parts in linear.items()}
        for own, other in norms.items():
            names |= {f"{block}{own}.{end}": [f"{layer}{other}.{end}"] for end in ("weight", "bias")}
    return names


def decoder_tensors(model: LanguageModel) -> dict[str, Tensor]:
    """The weights of a decoder, or of Model B's, by their names in transformers' MusicgenForCausalLM."""
    own, config = model.state_dict(), model.config
    return {
        name: part.flatten(0, -2) if part.ndim > 1 else part
        for key, names in tensor_names(config.layers, config.num_codebooks).items()
        for name, part in zip(names, own[key].chunk(len(names)), strict=True)
    }


def check(decoder: Mapping[str, Any]) -> None:
    """ValueError for settings of transformers' MusicgenDecoderConfig that MusicGen's mono decoders do not have."""
    supported = {
        "audio_channels": 1, "activation_function": "gelu", "ffn_dim": 4 * decoder["hidden_size"],
        "cross_attention_hidden_size": None,
    }  # fmt: skip
    for name, value in supported.items():
        if decoder[name] != value:
            raise ValueError(
                f"decoder.{name} is {decoder[name]!r}; only {value!r} is supported, as in the mono MusicGens"
            )


def describe(decoder: Mapping[str, Any], **others: Any) -> ModelConfig:
    """The config of the model for a MusicgenDecoderConfig; `others` are the fields that it does not hold."""
    return ModelConfig(
        type="musicgen",
        pattern="delay",
        codebook_size=decoder["vocab_size"],
        num_codebooks=decoder["num_codebooks"],
        d_model=decoder["hidden_size"],
        layers=decoder["num_hidden_layers"],
        heads=decoder["num_attention_heads"],
        max_frames=round(TRAINED_SECONDS * others["frame_rate"]),
        max_prompt_frames=0,
        **others,
    )


def assemble(config: ModelConfig, tensors: Mapping[str, Tensor]) -> MusicGenModel:
    """The model with the weights of a MusicgenForConditionalGeneration, in evaluation mode.

    KeyError for a missing weight, RuntimeError for one of another size.
    """
    if config.text_dim == config.d_model:  # a checkpoint may then have no projection
        identity = {"weight": torch.eye(config.d_model), "bias": torch.zeros(config.d_model)}
        tensors = {f"{PROJECTION}.{end}": tensor for end, tensor in identity.items()} | dict(tensors)
    model = MusicGenModel(config).eval()
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    names = {
        own: [f"{DECODER}{name}" for name in parts]
        for own, parts in tensor_names(config.layers, config.num_codebooks).items()
    } | {f"text_projection.{end}": [f"{PROJECTION}.{end}"] for end in ("weight", "bias")}
    model.load_state_dict(
        {own: torch.cat([tensors[one] for one in parts]).view(shapes[own]) for own, parts in names.items()}
    )
    return model


def disassemble(model: LanguageModel) -> dict[str, Tensor]:
    """The inverse of `assemble`: a decoder's weights by their names in a MusicgenForConditionalGeneration.

    ValueError where that has no place for the projection of the text, which it leaves out between equal widths.
    """
    projection = {f"{PROJECTION}.{end}": model.state_dict()[f"text_projection.{end}"] for end in ("weight", "bias")}
    if model.config.text_dim == model.config.d_model:
        weight, bias = projection.values()
        if bias.any() or not weight.equal(torch.eye(len(weight))):
            raise ValueError(
                f"its text encoder and its decoder are both {len(weight)} wide; transformers' MusicGen has no projection between them, "
                "and this one was trained"
            )
        projection = {}
    return {f"{DECODER}{name}": tensor for name, tensor in decoder_tensors(model).items()} | projection
