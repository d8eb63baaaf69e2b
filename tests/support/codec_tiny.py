"""A codec of a few thousand weights, random but with filled codebooks."""

import math
from pathlib import Path

import torch
from transformers import EncodecConfig, EncodecModel

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


def waves(batch: int, samples: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(batch, samples, generator=torch.Generator().manual_seed(seed))
