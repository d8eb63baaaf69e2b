"""A codec of a few thousand weights, random but with filled codebooks."""

import math
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import DacConfig, DacModel, EncodecConfig, EncodecModel, XcodecConfig, XcodecModel
from transformers.models.dac.modeling_dac import DacResidualUnit

RATE, HOP, SIZE, BOOKS = 1000, 20, 16, 3


def model(seed: int = 0, causal: bool = False, rate: int = RATE) -> EncodecModel:
    config = EncodecConfig(
        sampling_rate=rate, upsampling_ratios=[5, 4], num_filters=4, hidden_size=8, codebook_dim=8, codebook_size=SIZE,
        num_lstm_layers=1, use_causal_conv=causal, use_conv_shortcut=causal,
        target_bandwidths=[number * math.log2(SIZE) * rate / HOP / 1000 for number in (1, BOOKS)],
    )  # fmt: skip
    torch.manual_seed(seed)
    built = EncodecModel(config).eval()
    for layer in built.quantizer.layers:
        layer.codebook.embed.normal_(std=0.3)
    return built


def save(directory: Path, seed: int = 0, half: bool = False, rate: int = RATE) -> Path:
    built = model(seed, rate=rate)
    (built.half() if half else built).save_pretrained(directory)
    return directory


def dac(
    seed: int = 0, ratios: tuple[int, ...] = (2, 5, 2), rate: int = RATE, books: int = 9, size: int = SIZE
) -> DacModel:
    """A random DacModel; of 20 samples a frame unless `ratios` say otherwise."""
    config = DacConfig(
        sampling_rate=rate, downsampling_ratios=list(ratios), encoder_hidden_size=4, decoder_hidden_size=32, n_codebooks=books,
        codebook_size=size, codebook_dim=4,
    )  # fmt: skip
    torch.manual_seed(seed)
    built = DacModel(config).eval()
    enliven(built)
    built.decoder.conv2.weight.data.mul_(0.3)
    return built


def enliven(model: nn.Module) -> None:
    """Draw the weights of a DAC's parts so that the signal neither fades nor grows."""
    for part in reversed(list(model.modules())):
        if isinstance(part, nn.Conv1d | nn.ConvTranspose1d):
            nn.init.kaiming_normal_(part.weight, nonlinearity="linear")
            if part.bias is not None:
                nn.init.normal_(part.bias, std=0.1)
        if isinstance(part, nn.Embedding):
            nn.init.normal_(part.weight, std=0.3)
        if isinstance(part, DacResidualUnit):  # otherwise three in a row double the signal
            part.conv2.weight.data.mul_(0.2)


def save_dac(directory: Path, **options: Any) -> Path:
    dac(**options).save_pretrained(directory)
    return directory


def waves(batch: int, samples: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(batch, samples, generator=torch.Generator().manual_seed(seed))


def xcodec(seed: int = 0, books: int = 8) -> XcodecModel:
    """An XcodecModel at 1 kHz with 20 samples a frame, whose codebooks are filled."""
    acoustic = {**dac().config.to_dict(), "hidden_size": 8, "upsampling_ratios": [2, 5, 2]}
    semantic = {
        "model_type": "hubert", "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16,
        "conv_dim": [8, 8, 8], "conv_kernel": [10, 3, 3], "conv_stride": [5, 2, 2], "num_feat_extract_layers": 3,
        "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2,
    }  # fmt: skip
    bits = math.log2(SIZE) * RATE / HOP / 1000
    config = XcodecConfig(
        sample_rate=RATE, codebook_size=SIZE, target_bandwidths=[bits * number for number in range(1, books + 1)],
        acoustic_model_config=acoustic, semantic_model_config=semantic,
    )  # fmt: skip
    torch.manual_seed(seed)
    built = XcodecModel(config).eval()
    for half in (built.acoustic_encoder, built.acoustic_decoder):
        enliven(half)
    nn.init.normal_(built.fc.weight, std=0.3)
    nn.init.normal_(built.fc2.weight, std=0.3)
    for number, level in enumerate(built.quantizer.quantizers):
        level.codebook.embed.normal_(std=0.5 * 0.7**number)
    return built


def save_xcodec(directory: Path, **options: Any) -> Path:
    xcodec(**options).save_pretrained(directory)
    return directory
