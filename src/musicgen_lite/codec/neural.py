"""What neural codecs have in common, whatever their layers: checks of what is given, pieces of long audio, items of a batch."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from musicgen_lite.errors import UserError

PIECE_S = 10.0


@dataclass(frozen=True)
class Sizes:
    """Sizes of a codec, as `Codec` has them; available: how many codebooks it has."""

    rate: int
    hop: int
    codebook_size: int
    available: int


class NeuralCodec(ABC):
    """A codec of `sizes` with its first `num_codebooks` codebooks; see `Codec` for its members.

    A subclass sets `context` and `fingerprint`, and has the computations on batches whose shape is right.
    """

    context: int
    fingerprint: str

    def __init__(self, name: str, revision: str, sizes: Sizes, num_codebooks: int, device: torch.device) -> None:
        if not 1 <= num_codebooks <= sizes.available:
            raise UserError(f"codec.num_codebooks: found {num_codebooks}; codec {name!r} has 1 to {sizes.available}")
        self.name, self.revision, self.device = name, revision, device
        self.rate, self.hop, self.codebook_size = sizes.rate, sizes.hop, sizes.codebook_size
        self.frame_rate: float = self.rate / self.hop if self.rate % self.hop else self.rate // self.hop
        self.num_codebooks = num_codebooks
        self._piece = round(PIECE_S * self.frame_rate)

    @abstractmethod
    def codebooks(self) -> Tensor:
        """`[N_q, K, D]`; see `Codec.codebooks`."""

    @abstractmethod
    def _latents(self, wave: Tensor) -> Tensor:
        """`[B, D, T']` of `wave` `[B, T]`."""

    @abstractmethod
    def _quantised(self, latents: Tensor) -> Tensor:
        """Codes `[B, N_q, T']` of `latents` `[B, D, T']`."""

    @abstractmethod
    def _waves(self, codes: Tensor) -> Tensor:
        """`[B, T' * hop]` of `codes` `[B, N_q, T']`."""

    def latents(self, wave: Tensor) -> Tensor:
        """`[B, D, T']` of `wave` `[B, T]`; see `Codec.latents`."""
        return self._per_item(self._latents, self._checked(wave))

    def encode(self, wave: Tensor) -> Tensor:
        """`[B, N_q, T']` of `wave` `[B, T]`; see `Codec.encode`."""
        return self._per_item(lambda item: self._quantised(self._latents(item)), self._checked(wave))

    def decode(self, codes: Tensor) -> Tensor:
        """`[B, T' * hop]` of `codes` `[B, N_q, T']`; see `Codec.decode`."""
        if codes.ndim != 3 or codes.shape[1] != self.num_codebooks or 0 in codes.shape:
            raise ValueError(f"expected codes [B, {self.num_codebooks}, T], found shape {tuple(codes.shape)}")
        low, high = int(codes.min()), int(codes.max())
        if low < 0 or high >= self.codebook_size:
            raise ValueError(f"codes lie in {low}..{high}, allowed 0..{self.codebook_size - 1}")
        return self._per_item(self._waves, codes.to(self.device).long())

    def _checked(self, wave: Tensor) -> Tensor:
        if wave.ndim != 2 or 0 in wave.shape:
            raise ValueError(f"expected waveforms [B, T], found shape {tuple(wave.shape)}")
        return wave.to(self.device, torch.float32)

    def _in_pieces(
        self, function: Callable[[Tensor], Tensor], given: Tensor, samples_in: int, samples_out: int
    ) -> Tensor:
        """`function` of `given` `[B, C, T]` along time, where a frame takes `samples_in` and gives `samples_out`."""
        frames = -(-given.shape[-1] // samples_in)
        if frames <= self._piece:
            return function(given)
        found = []
        for start in range(0, frames, self._piece):
            begin = max(0, start - self.context)
            made = function(given[..., begin * samples_in : (start + self._piece + self.context) * samples_in])
            found.append(made[..., (start - begin) * samples_out : (start - begin + self._piece) * samples_out])
        return torch.cat(found, dim=-1)

    def _per_item(self, function: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
        """`function` of `batch` `[B, ...]` without gradients; on a CPU one item per thread.

        There a batch saves no time, needs B times the memory, and rounds differently from its items. One thread per item is
        faster than all threads on each, because LSTM steps are too small to share, and rounds alike for any number of
        threads. Gradient mode is per thread.
        """
        function = torch.no_grad()(function)
        if self.device.type != "cpu":
            return function(batch)
        with ThreadPoolExecutor(torch.get_num_threads(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return torch.cat(list(pool.map(function, batch.split(1))))


def check_trained(name: str, vectors: Tensor, parameter: str) -> None:
    """Raise UserError where one of the codebooks `[N_q, K, D]` is all zeros."""
    for number, book in enumerate(vectors):
        if not book.any():
            raise UserError(
                f"{parameter} {name!r}: codebook {number} is all zeros, so the model is untrained; choose another"
            )


def residual_codes(levels: Iterable[Any], latents: Tensor) -> Tensor:
    """Codes `[B, N_q, T']` of `latents` `[B, D, T']`: each level takes what those before it have left."""
    codes = []
    for level in levels:
        codes.append(level.encode(latents))
        latents = latents - level.decode(codes[-1])
    return torch.stack(codes, dim=1)
