"""EnCodec (Défossez et al. 2022), on the modules of whichever package implements it.

An EnCodec is an encoder and a decoder of convolutions with a recurrent layer, and a residual vector quantiser between them.
The convolutions take nearly all of the time and memory, and have a receptive field of a few frames: audio longer than
`PIECE_S` goes through them in pieces, each with `CONTEXT_S` of context on both sides that is dropped afterwards, while the
recurrent layer sees the whole. Results equal those of the whole up to rounding, and memory hardly grows with length.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import EncodecConfig

from musicgen_lite.codec import neural
from musicgen_lite.codec.layers import fold_weight_norm
from musicgen_lite.codec.neural import NeuralCodec, Sizes, check_trained, residual_codes
from musicgen_lite.errors import UserError
from musicgen_lite.io.hashing import fingerprint

CONTEXT_S = 0.5
SUPPORTED = (
    "only mono codecs without loudness normalisation and chunking are supported; use embedded, "
    "facebook/encodec_32khz, facebook/encodec_24khz or encodec_24khz"
)
# Keys of a configuration that change codes or waveforms; names, versions and file types don't.
_IDENTITY = (
    "sampling_rate", "audio_channels", "hidden_size", "num_filters", "num_residual_layers", "upsampling_ratios",
    "norm_type", "kernel_size", "last_kernel_size", "residual_kernel_size", "dilation_growth_rate", "use_causal_conv",
    "pad_mode", "compress", "num_lstm_layers", "trim_right_ratio", "codebook_size", "codebook_dim", "use_conv_shortcut",
)  # fmt: skip


@dataclass(frozen=True)
class Parts:
    """The parts of an EnCodec, in evaluation mode.

    encoder, decoder: their layers in order; levels: of the quantiser, each turns `[B, D, T]` into codes `[B, T]` by
    `encode` and back by `decode`; vectors: the codebooks, `[K, D]` each; config: all sizes.
    """

    encoder: Sequence[nn.Module]
    decoder: Sequence[nn.Module]
    levels: Sequence[Any]
    vectors: Sequence[Tensor]
    config: EncodecConfig


def check(name: str, config: EncodecConfig, parameter: str) -> None:
    """Raise UserError for a codec that is not supported."""
    wanted = {"audio_channels": 1, "normalize": False, "chunk_length_s": None, "norm_type": "weight_norm"}
    other = [f"{key} {getattr(config, key)}" for key, value in wanted.items() if getattr(config, key) != value]
    if other:
        raise UserError(f"{parameter} {name!r}: {', '.join(other)}; {SUPPORTED}")


class Encodec(NeuralCodec):
    """The codec made of `parts` with the first `num_codebooks` levels; see `Codec` for its members."""

    def __init__(
        self,
        parts: Parts,
        name: str,
        revision: str,
        num_codebooks: int,
        device: torch.device,
        parameter: str,
    ) -> None:
        config = parts.config
        check(name, config, parameter)
        sizes = Sizes(config.sampling_rate, config.hop_length, config.codebook_size, len(parts.levels))
        super().__init__(name, revision, sizes, num_codebooks, device)
        self.context = round(CONTEXT_S * self.frame_rate)
        self._vectors = torch.stack(list(parts.vectors[:num_codebooks])).to(device)
        check_trained(name, self._vectors, parameter)
        self.fingerprint = self._fingerprint(parts)
        encoder, decoder = (
            [fold_weight_norm(layer).to(device) for layer in half] for half in (parts.encoder, parts.decoder)
        )
        self._levels = [level.to(device) for level in parts.levels[:num_codebooks]]
        encoder_split, decoder_split = _recurrent(encoder), _recurrent(decoder) + 1
        self._encoder = nn.Sequential(*encoder[:encoder_split]), nn.Sequential(*encoder[encoder_split:])
        self._decoder = nn.Sequential(*decoder[:decoder_split]), nn.Sequential(*decoder[decoder_split:])

    def _fingerprint(self, parts: Parts) -> str:
        """Over tensors by position and `_IDENTITY`, so that a codec has the same fingerprint in every package."""
        tensors = {
            f"{half} {number}": tensor
            for half in ("encoder", "decoder")
            for number, tensor in enumerate(
                tensor for layer in getattr(parts, half) for tensor in layer.state_dict().values()
            )
        }
        identity = {key: getattr(parts.config, key) for key in _IDENTITY}
        identity |= {"num_codebooks": self.num_codebooks, "piece_s": neural.PIECE_S, "context_s": CONTEXT_S}
        return fingerprint(tensors | {"codebooks": self._vectors}, identity)

    def codebooks(self) -> Tensor:
        """`[N_q, K, D]`; see `Codec.codebooks`."""
        return self._vectors

    def _latents(self, wave: Tensor) -> Tensor:
        convolutions, rest = self._encoder
        return rest(self._in_pieces(convolutions, wave.unsqueeze(1), self.hop, 1))

    def _quantised(self, latents: Tensor) -> Tensor:
        return residual_codes(self._levels, latents)

    def _waves(self, codes: Tensor) -> Tensor:
        latents = sum(level.decode(row) for level, row in zip(self._levels, codes.unbind(1), strict=True))
        recurrent, convolutions = self._decoder
        return self._in_pieces(convolutions, recurrent(latents), 1, self.hop).squeeze(1)


def _recurrent(layers: Sequence[nn.Module]) -> int:
    """The index of the recurrent layer, which sees everything before it."""
    return next(n for n, layer in enumerate(layers) if any(isinstance(part, nn.LSTM) for part in layer.modules()))
