"""DAC, the Descript Audio Codec (Kumar et al. 2023), on the modules of transformers' DacModel.

Its encoder and decoder are convolutions alone, and each level of its quantiser looks codes up in a space of few dimensions.
Audio longer than `neural.PIECE_S` goes through in pieces with as many frames of context as the convolutions can hear.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import DacModel

from musicgen_lite.codec import neural
from musicgen_lite.codec.neural import NeuralCodec, Sizes
from musicgen_lite.errors import UserError
from musicgen_lite.io.hashing import fingerprint


class Dac(NeuralCodec):
    """The codec of `model` with its first `num_codebooks` codebooks; see `Codec` for its members.

    Waveforms are filled up with zeros to whole frames. Where a stride is odd, DacModel decodes a few samples too few; zeros
    take their place at the end.
    """

    def __init__(
        self, model: DacModel, name: str, revision: str, num_codebooks: int, device: torch.device, parameter: str
    ) -> None:
        config = model.config
        hop = checked_hop(name, config.downsampling_ratios, config.upsampling_ratios, parameter)
        sizes = Sizes(config.sampling_rate, hop, config.codebook_size, len(model.quantizer.quantizers))
        super().__init__(name, revision, sizes, num_codebooks, device)
        self.context = max(reach(model.encoder, 1, hop), reach(model.decoder, hop, hop))
        self._levels = model.quantizer.quantizers[:num_codebooks]
        self.fingerprint = self._fingerprint(model)
        self._encoder, self._decoder = model.encoder.to(device), model.decoder.to(device)
        self._quantiser = model.quantizer.to(device)

    def _fingerprint(self, model: DacModel) -> str:
        halves = {"encoder": model.encoder, "decoder": model.decoder, "levels": self._levels}
        identity = {
            "type": "dac", "rate": self.rate, "num_codebooks": self.num_codebooks, "piece_s": neural.PIECE_S,
            "context": self.context, "down": list(model.config.downsampling_ratios), "up": list(model.config.upsampling_ratios),
        }  # fmt: skip
        return fingerprint(named_tensors(halves), identity)

    @torch.no_grad()
    def codebooks(self) -> Tensor:
        """`[N_q, K, D]`: the vectors as they are added up; see `Codec.codebooks`."""
        return torch.stack([level.out_proj(level.codebook.weight.T[None])[0].T for level in self._levels])

    def _latents(self, wave: Tensor) -> Tensor:
        whole = functional.pad(wave, (0, -wave.shape[-1] % self.hop))
        return self._in_pieces(self._encoder, whole.unsqueeze(1), self.hop, 1)

    def _quantised(self, latents: Tensor) -> Tensor:
        return self._quantiser(latents, self.num_codebooks)[1]

    def _waves(self, codes: Tensor) -> Tensor:
        latents = self._quantiser.from_codes(codes)[0]
        wave = self._in_pieces(self._decoder, latents, 1, self.hop).squeeze(1)
        return functional.pad(wave, (0, codes.shape[2] * self.hop - wave.shape[-1]))


def checked_hop(name: str, down: list[int], up: list[int], parameter: str) -> int:
    """Samples a frame of a DAC with these strides. UserError where its halves differ, or a stride of 1 adds a sample."""
    hop = math.prod(down)
    if math.prod(up) != hop or min(*down, *up) < 2:
        raise UserError(
            f"{parameter} {name!r}: downsampling_ratios {list(down)} and upsampling_ratios {list(up)} in its config.json; "
            "both must have the same product, of factors from 2 on; fetch its files again, or name another codec"
        )
    return hop


def reach(layers: nn.Module, step: int, hop: int) -> int:
    """Frames of `hop` samples that the convolutions in `layers` hear on either side; step: samples to a step of the first."""
    heard = 0
    for layer in layers.modules():
        if isinstance(layer, nn.ConvTranspose1d):
            step //= layer.stride[0]
        if isinstance(layer, nn.Conv1d | nn.ConvTranspose1d):
            heard += (layer.kernel_size[0] - 1) * layer.dilation[0] * step
        if isinstance(layer, nn.Conv1d):
            step *= layer.stride[0]
    return -(-heard // (2 * hop)) + 1


def named_tensors(parts: dict[str, nn.Module]) -> dict[str, Tensor]:
    """The weights of `parts` by the part and their names in it."""
    return {f"{part} {key}": tensor for part, module in parts.items() for key, tensor in module.state_dict().items()}
