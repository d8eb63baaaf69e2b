"""What the rest of the project asks of a neural audio codec."""

from typing import Protocol

from torch import Tensor


class Codec(Protocol):
    """Waveforms to grids of codes and back. Mono; every waveform of a batch has the same length.

    name: finds the same weights again (`embedded`, a path, or a hub name at its commit); revision: that
    commit, or ""
    rate: Hz of the waveforms; hop: samples in a frame; frame_rate: frames a second, rate / hop, which need not be whole
    context: frames on either side of a frame by which its waveform is decided, but for what a recurrent layer remembers
    codebook_size: K; num_codebooks: N_q in use
    fingerprint: equal only where weights, preprocessing and N_q are equal; codes of different fingerprints don't mix
    """

    name: str
    revision: str
    rate: int
    hop: int
    frame_rate: float
    context: int
    codebook_size: int
    num_codebooks: int
    fingerprint: str

    def encode(self, wave: Tensor) -> Tensor:
        """Codes int64 `[B, N_q, T']` of float32 `wave` `[B, T]`, T' = ceil(T / hop). On a CPU a row's
        codes are the same in any batch, as are its latents and its waveform below."""
        ...

    def decode(self, codes: Tensor) -> Tensor:
        """Waveform float32 `[B, T' * hop]` of `codes` `[B, N_q, T']`."""
        ...

    def latents(self, wave: Tensor) -> Tensor:
        """The encoder's output before quantisation, float32 `[B, D, T']`, of `wave` `[B, T]`."""
        ...

    def codebooks(self) -> Tensor:
        """The vectors of the codes in use, float32 `[N_q, K, D]`; a frame's latent is about their sum over N_q."""
        ...


def describe(codec: Codec) -> dict[str, str | int | float]:
    """What readers of codes need to know about their codec, as the metadata of a token store."""
    return {
        "name": codec.name, "revision": codec.revision, "fingerprint": codec.fingerprint, "rate": codec.rate,
        "codebook_size": codec.codebook_size, "num_codebooks": codec.num_codebooks, "frame_rate": codec.frame_rate,
    }  # fmt: skip
