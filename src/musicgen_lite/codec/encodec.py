"""EnCodec (Défossez et al. 2022) on transformers' EncodecModel."""

import math
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor
from transformers import EncodecConfig, EncodecModel

from musicgen_lite import store
from musicgen_lite.errors import UserError
from musicgen_lite.pretrained import Source, load_model, locate, read_config

# What of a configuration changes codes or waveforms; names, versions and file types don't.
_IDENTITY = (
    "sampling_rate", "audio_channels", "hidden_size", "num_filters", "num_residual_layers", "upsampling_ratios",
    "norm_type", "kernel_size", "last_kernel_size", "residual_kernel_size", "dilation_growth_rate", "use_causal_conv",
    "pad_mode", "compress", "num_lstm_layers", "trim_right_ratio", "codebook_size", "codebook_dim", "use_conv_shortcut",
)  # fmt: skip


PARAMETER, PART = "codec.name", "audio_encoder"


def _model(source: Source) -> EncodecModel:
    """The model at `source` in float32, every weight of it read from the file."""
    found = read_config(source, PART)
    if found.get("model_type") != "encodec":
        raise UserError(
            f"{source}: model_type is {found.get('model_type')!r}, expected 'encodec'; name the directory or the hub's "
            "model of an EncodecModel or a MusicGen"
        )
    return load_model(EncodecModel, source, PART)


class TransformersEncodec:
    """A mono EncodecModel without chunks or level normalisation, as MusicGen's 32 kHz codec and the shipped one are."""

    def __init__(self, name: str, num_codebooks: int, device: torch.device, trusted: Collection[str] = ()) -> None:
        source = locate(name, PARAMETER, {"embedded": "codec"}, trusted)
        self.name, self.revision = name, source.revision
        self.model: Any = _model(source).to(device)
        self.device = device
        config = self.model.config
        self._check(config, num_codebooks)
        self.rate: int = config.sampling_rate
        self.hop: int = config.hop_length
        self.frame_rate: int = config.frame_rate
        self.codebook_size: int = config.codebook_size
        self.num_codebooks = num_codebooks
        # Half a codebook more than asked for: the quantiser rounds the bandwidth down to whole codebooks, and an exact
        # one could fall short by a rounding error. Without a bandwidth, `EncodecModel.encode` takes its lowest.
        self._bandwidth = (num_codebooks + 0.5) * math.log2(self.codebook_size) * self.frame_rate / 1000.0
        tensors = {key: value for key, value in self.model.state_dict().items() if not key.startswith("quantizer.")}
        tensors["codebooks"] = self.codebooks()
        identity = {key: getattr(config, key) for key in _IDENTITY} | {"num_codebooks": num_codebooks}
        self.fingerprint = store.fingerprint(tensors, identity)

    def _check(self, config: EncodecConfig, num_codebooks: int) -> None:
        if config.audio_channels != 1 or config.normalize or config.chunk_length_s is not None:
            raise UserError(
                f"codec.name {self.name!r}: {config.audio_channels} channels, normalize {config.normalize}, "
                f"chunk_length_s {config.chunk_length_s}; only mono codecs without normalisation and chunks are "
                "supported, such as facebook/encodec_32khz"
            )
        if config.frame_rate * config.hop_length != config.sampling_rate:
            raise UserError(
                f"codec.name {self.name!r}: {config.hop_length} samples a frame at {config.sampling_rate} Hz is no whole "
                "number of frames a second; choose another codec"
            )
        held = len(self.model.quantizer.layers)
        if not 1 <= num_codebooks <= held:
            raise UserError(f"codec.num_codebooks: found {num_codebooks}; codec {self.name!r} has 1 to {held}")
        for number, vectors in enumerate(self.model.quantizer.layers[:num_codebooks]):
            if not vectors.codebook.embed.any():
                raise UserError(
                    f"codec.name {self.name!r}: codebook {number} is all zeros, so the model is untrained; choose another"
                )

    def _checked(self, wave: Tensor) -> Tensor:
        if wave.ndim != 2 or 0 in wave.shape:
            raise ValueError(f"expected waveforms [B, T], found shape {tuple(wave.shape)}")
        return wave.to(self.device, torch.float32)

    def _codes(self, wave: Tensor) -> Tensor:
        """`[B, N_q, T']` of `wave` `[B, T]`."""
        latents = self.model.encoder(wave.unsqueeze(1))
        return self.model.quantizer.encode(latents, self._bandwidth).transpose(0, 1).contiguous()

    @torch.no_grad()
    def latents(self, wave: Tensor) -> Tensor:
        """`[B, D, T']` of `wave` `[B, T]`; see `Codec.latents`."""
        return self._rows(lambda rows: self.model.encoder(rows.unsqueeze(1)), self._checked(wave))

    @torch.no_grad()
    def encode(self, wave: Tensor) -> Tensor:
        """`[B, N_q, T']` of `wave` `[B, T]`; see `Codec.encode`."""
        return self._rows(self._codes, self._checked(wave))

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """`[B, T' * hop]` of `codes` `[B, N_q, T']`; see `Codec.decode`."""
        if codes.ndim != 3 or codes.shape[1] != self.num_codebooks or 0 in codes.shape:
            raise ValueError(f"expected codes [B, {self.num_codebooks}, T], found shape {tuple(codes.shape)}")
        low, high = int(codes.min()), int(codes.max())
        if low < 0 or high >= self.codebook_size:
            raise ValueError(f"codes lie in {low}..{high}, allowed 0..{self.codebook_size - 1}")
        return self._rows(self._waves, codes.to(self.device).long())

    def _waves(self, codes: Tensor) -> Tensor:
        """`[B, T' * hop]` of `codes` `[B, N_q, T']`."""
        return self.model.decoder(self.model.quantizer.decode(codes.transpose(0, 1))).squeeze(1)

    def _rows(self, function: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
        """`function` of `batch` `[B, ...]`; on a CPU row by row, as many side by side as torch has threads.

        There a batch saves no time, needs B times the memory, and rounds differently from its rows. One thread to a row
        is faster than all threads on each, whose LSTM steps are too small to share, and rounds alike on any number.
        """
        if self.device.type != "cpu":
            return function(batch)
        with ThreadPoolExecutor(torch.get_num_threads(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return torch.cat(list(pool.map(function, batch.split(1))))

    def codebooks(self) -> Tensor:
        """`[N_q, K, D]`; see `Codec.codebooks`."""
        return torch.stack([layer.codebook.embed for layer in self.model.quantizer.layers[: self.num_codebooks]])
