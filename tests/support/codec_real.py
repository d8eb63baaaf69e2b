"""The real architectures of EnCodec with random weights, which behave: latents that move and codebooks that are filled."""

import torch
from torch import Tensor
from transformers import EncodecConfig, EncodecModel

from pretraining.codec_training import scale_to_data

SECONDS = 2.0


def config(rate: int) -> EncodecConfig:
    """The configuration of facebook/encodec_32khz or of facebook/encodec_24khz, which is transformers' default."""
    if rate == 24000:
        return EncodecConfig()
    return EncodecConfig(
        sampling_rate=32000, num_filters=64, upsampling_ratios=[8, 5, 4, 4], codebook_size=2048, target_bandwidths=[2.2],
        use_causal_conv=False, use_conv_shortcut=False,
    )  # fmt: skip


def waves(batch: int, samples: int, rate: int) -> Tensor:
    """Chords `[batch, samples]` over a little noise, each row other ones."""
    random = torch.Generator().manual_seed(samples)
    time = torch.arange(samples) / rate
    hertz = 55.0 * 2 ** (torch.randint(0, 60, (batch, 6), generator=random) / 12)
    tones = torch.sin(2 * torch.pi * hertz[..., None] * time).mean(1)
    swell = 0.5 + 0.5 * torch.sin(2 * torch.pi * 2.0 * time)
    return 0.3 * tones * swell + 0.01 * torch.randn(batch, samples, generator=random)


@torch.no_grad()
def model(rate: int, codebooks: int, seed: int = 0) -> EncodecModel:
    """An EncodecModel of the real size at `rate`, of whose codebooks the first ones are filled."""
    torch.manual_seed(seed)
    built = EncodecModel(config(rate)).eval().requires_grad_(False)
    wave = waves(2, round(SECONDS * rate), rate)
    scale_to_data(built, wave)
    left = built.encoder(wave.unsqueeze(1)).transpose(1, 2).flatten(0, 1)
    for layer in built.quantizer.layers[:codebooks]:
        book = layer.codebook
        rows = left[torch.randint(len(left), (len(book.embed),))]
        book.embed.copy_(rows + 0.5 * left.std(0) * torch.randn(rows.shape))
        left = left - book.embed[book.quantize(left)]
    return built
