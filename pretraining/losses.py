"""Losses and scores of waveform reconstruction."""

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

# The metric that the model card reports: natural log of mel magnitudes, floored.
METRIC_FFT, METRIC_HOP, METRIC_MELS, FLOOR = 1024, 256, 64, 1e-5


def _mel(hz: float) -> float:
    return 2595.0 * math.log10(1.0 + hz / 700.0)


@lru_cache
def mel_matrix(rate: int, n_fft: int, mels: int) -> Tensor:
    """Triangular filters `[mels, n_fft // 2 + 1]` from 0 Hz to half the rate on the mel scale 2595 log10(1 + f/700).

    Each filter's weights sum to 1, so that bands of different widths compare; a filter narrower than a bin takes its
    nearest bin.
    """
    edges = 700.0 * (10.0 ** (torch.linspace(0.0, _mel(rate / 2), mels + 2, dtype=torch.float64) / 2595.0) - 1.0)
    bins = torch.linspace(0.0, rate / 2, n_fft // 2 + 1, dtype=torch.float64)
    low, centre, high = (edges[i : i + mels].unsqueeze(1) for i in range(3))
    weights = torch.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)).clamp(min=0.0)
    empty = weights.sum(1) == 0
    weights[empty, (bins - centre[empty]).abs().argmin(1)] = 1.0
    return (weights / weights.sum(1, keepdim=True)).float()


def log_mel(wave: Tensor, rate: int, n_fft: int, hop: int, mels: int) -> Tensor:
    """Natural log of mel magnitudes `[B, mels, frames]` of `wave` `[B, T]`, floored at 1e-5 (Hann window)."""
    window = torch.hann_window(n_fft, dtype=wave.dtype)
    spectrum = torch.stft(wave, n_fft, hop, window=window, return_complex=True)
    magnitude = (spectrum.real.square() + spectrum.imag.square() + 1e-12).sqrt()
    return (mel_matrix(rate, n_fft, mels) @ magnitude).clamp(min=FLOOR).log()


def mel_loss(output: Tensor, target: Tensor, rate: int, scales: Sequence[tuple[int, int, int]]) -> Tensor:
    """Mean over `scales` (n_fft, hop, mels) of the mean absolute difference of log-mel magnitudes."""
    both = torch.cat([output, target])
    losses = []
    for scale in scales:
        ours, theirs = log_mel(both, rate, *scale).chunk(2)
        losses.append((ours - theirs).abs().mean())
    return torch.stack(losses).mean()


def relative_l1(output: Tensor, target: Tensor) -> Tensor:
    """Sum of absolute errors over the sum of absolute samples, over a whole batch `[B, T]`."""
    return (output - target).abs().sum() / target.abs().sum().clamp(min=1e-3)


def si_sdr(output: Tensor, target: Tensor) -> Tensor:
    """Scale-invariant signal-to-distortion ratio in dB, `[B]`, of `[B, T]` (Le Roux et al. 2019), means removed."""
    output = output - output.mean(-1, keepdim=True)
    target = target - target.mean(-1, keepdim=True)
    energy = target.square().sum(-1, keepdim=True) + 1e-6
    projection = (output * target).sum(-1, keepdim=True) / energy * target
    error = (output - projection).square().sum(-1) + 1e-6
    return 10.0 * torch.log10((projection.square().sum(-1) + 1e-6) / error)


def log_distortion(output: Tensor, target: Tensor) -> Tensor:
    """Mean over `[B, T]` of the error's energy over the signal's, in dB: a signal-to-distortion ratio, negated.

    Unlike SI-SDR it sees scale and sign; trained on SI-SDR from the start, a codec settles on inverted waveforms.
    """
    error = (output - target).square().sum(-1) + 1e-3
    return (10.0 * torch.log10(error / (target.square().sum(-1) + 1e-3))).mean()


def metric_mel(output: Tensor, target: Tensor, rate: int) -> Tensor:
    """The reported log-mel L1, `[B]`: n_fft 1024, hop 256, 64 mels, natural log, floor 1e-5."""
    ours, theirs = (log_mel(wave, rate, METRIC_FFT, METRIC_HOP, METRIC_MELS) for wave in (output, target))
    return (ours - theirs).abs().mean((1, 2))
