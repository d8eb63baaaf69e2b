"""EnCodec (Défossez et al. 2022), on the modules of whichever package implements it.

An EnCodec is an encoder and a decoder of convolutions with a recurrent layer, and a residual vector quantiser between them.
The convolutions take nearly all of the time and memory, and have a receptive field of a few frames: audio longer than
`PIECE_S` goes through them in pieces, each with `CONTEXT_S` of context on both sides that is dropped afterwards, while the
recurrent layer sees the whole. Results equal those of the whole up to rounding, and memory hardly grows with length.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import EncodecConfig

from musicgen_lite.codec.layers import fold_weight_norm
from musicgen_lite.errors import UserError
from musicgen_lite.io.hashing import fingerprint

PIECE_S, CONTEXT_S = 10.0, 0.5
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
    if config.frame_rate * config.hop_length != config.sampling_rate:
        raise UserError(
            f"{parameter} {name!r}: {config.hop_length} samples per frame at {config.sampling_rate} Hz give no whole "
            "number of frames per second; choose another codec"
        )


class Encodec:
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
        config, available = parts.config, len(parts.levels)
        check(name, config, parameter)
        if not 1 <= num_codebooks <= available:
            raise UserError(f"codec.num_codebooks: found {num_codebooks}; codec {name!r} has 1 to {available}")
        for number, vectors in enumerate(parts.vectors[:num_codebooks]):
            if not vectors.any():
                raise UserError(
                    f"{parameter} {name!r}: codebook {number} is all zeros, so the model is untrained; choose another"
                )
        self.name, self.revision, self.device = name, revision, device
        self.rate: int = config.sampling_rate
        self.hop: int = config.hop_length
        self.frame_rate: int = config.frame_rate
        self.codebook_size: int = config.codebook_size
        self.num_codebooks = num_codebooks
        self._vectors = torch.stack(list(parts.vectors[:num_codebooks])).to(device)
        self.fingerprint = self._fingerprint(parts)
        encoder, decoder = (
            [fold_weight_norm(layer).to(device) for layer in half] for half in (parts.encoder, parts.decoder)
        )
        self._levels = [level.to(device) for level in parts.levels[:num_codebooks]]
        encoder_split, decoder_split = _recurrent(encoder), _recurrent(decoder) + 1
        self._encoder = nn.Sequential(*encoder[:encoder_split]), nn.Sequential(*encoder[encoder_split:])
        self._decoder = nn.Sequential(*decoder[:decoder_split]), nn.Sequential(*decoder[decoder_split:])
        self._piece, self._context = round(PIECE_S * self.frame_rate), round(CONTEXT_S * self.frame_rate)

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
        identity |= {"num_codebooks": self.num_codebooks, "piece_s": PIECE_S, "context_s": CONTEXT_S}
        return fingerprint(tensors | {"codebooks": self._vectors}, identity)

    def latents(self, wave: Tensor) -> Tensor:
        """`[B, D, T']` of `wave` `[B, T]`; see `Codec.latents`."""
        return self._per_item(self._latents, self._checked(wave))

    def encode(self, wave: Tensor) -> Tensor:
        """`[B, N_q, T']` of `wave` `[B, T]`; see `Codec.encode`."""
        return self._per_item(self._codes, self._checked(wave))

    def decode(self, codes: Tensor) -> Tensor:
        """`[B, T' * hop]` of `codes` `[B, N_q, T']`; see `Codec.decode`."""
        if codes.ndim != 3 or codes.shape[1] != self.num_codebooks or 0 in codes.shape:
            raise ValueError(f"expected codes [B, {self.num_codebooks}, T], found shape {tuple(codes.shape)}")
        low, high = int(codes.min()), int(codes.max())
        if low < 0 or high >= self.codebook_size:
            raise ValueError(f"codes lie in {low}..{high}, allowed 0..{self.codebook_size - 1}")
        return self._per_item(self._waves, codes.to(self.device).long())

    def codebooks(self) -> Tensor:
        """`[N_q, K, D]`; see `Codec.codebooks`."""
        return self._vectors

    def _checked(self, wave: Tensor) -> Tensor:
        if wave.ndim != 2 or 0 in wave.shape:
            raise ValueError(f"expected waveforms [B, T], found shape {tuple(wave.shape)}")
        return wave.to(self.device, torch.float32)

    @torch.no_grad()
    def _latents(self, wave: Tensor) -> Tensor:
        convolutions, rest = self._encoder
        return rest(self._in_pieces(convolutions, wave.unsqueeze(1), self.hop, 1))

    @torch.no_grad()
    def _codes(self, wave: Tensor) -> Tensor:
        left, codes = self._latents(wave), []
        for level in self._levels:
            codes.append(level.encode(left))
            left = left - level.decode(codes[-1])
        return torch.stack(codes, dim=1)

    @torch.no_grad()
    def _waves(self, codes: Tensor) -> Tensor:
        latents = sum(level.decode(row) for level, row in zip(self._levels, codes.unbind(1), strict=True))
        recurrent, convolutions = self._decoder
        return self._in_pieces(convolutions, recurrent(latents), 1, self.hop).squeeze(1)

    def _in_pieces(
        self, function: Callable[[Tensor], Tensor], given: Tensor, samples_in: int, samples_out: int
    ) -> Tensor:
        """`function` of `given` `[B, C, T]` along time, where a frame takes `samples_in` and gives `samples_out`."""
        frames = -(-given.shape[-1] // samples_in)
        if frames <= self._piece:
            return function(given)
        found = []
        for start in range(0, frames, self._piece):
            begin = max(0, start - self._context)
            made = function(given[..., begin * samples_in : (start + self._piece + self._context) * samples_in])
            found.append(made[..., (start - begin) * samples_out : (start - begin + self._piece) * samples_out])
        return torch.cat(found, dim=-1)

    def _per_item(self, function: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
        """`function` of `batch` `[B, ...]`; on a CPU one item per thread.

        There a batch saves no time, needs B times the memory, and rounds differently from its items. One thread per item is
        faster than all threads on each, because LSTM steps are too small to share, and rounds alike for any number of
        threads. Gradient mode is per thread, so `function` itself must turn gradients off.
        """
        if self.device.type != "cpu":
            return function(batch)
        with ThreadPoolExecutor(torch.get_num_threads(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return torch.cat(list(pool.map(function, batch.split(1))))


def _recurrent(layers: Sequence[nn.Module]) -> int:
    """The index of the recurrent layer, which sees everything before it."""
    return next(n for n, layer in enumerate(layers) if any(isinstance(part, nn.LSTM) for part in layer.modules()))
