"""Learning rates and averaged weights over the steps of a training, for language models and pretrained models alike."""

import math

import torch
from torch import nn


def linear_warmup(step: int, steps: int) -> float:
    """Share of the peak learning rate at `step` (0-based): rises linearly and reaches 1 with the last of `steps`."""
    return min(1.0, (step + 1) / steps)


def cosine_decay(done: float, total: float, final_ratio: float) -> float:
    """Half a cosine from 1 down to `final_ratio`, of which `done` out of `total` has passed."""
    return final_ratio + (1 - final_ratio) * (0.5 * (1 + math.cos(math.pi * done / total)))


def learning_rate_factor(step: int, steps: int, warmup_fraction: float, min_ratio: float) -> float:
    """Share of the peak learning rate at optimizer step `step` (0-based) of `steps`.

    Linear warmup, then a half cosine down to `min_ratio`, reached with the last step.
    """
    warmup = round(warmup_fraction * steps)
    if step < warmup:
        return linear_warmup(step, warmup)
    return cosine_decay(min(1.0, (step + 1 - warmup) / (steps - warmup)), 1.0, min_ratio)


def ema_decay(updates: int, decay: float) -> float:
    """Decay of an exponential moving average after `updates` updates: low at first, so that it soon forgets its start."""
    return min(decay, (1 + updates) / (10 + updates))


@torch.no_grad()
def update_ema(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Move the averaged weights towards the model's, in place; buffers (codebooks, batch statistics) are copied."""
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1.0 - decay)
    for averaged, current in zip(average.buffers(), model.buffers(), strict=True):
        averaged.copy_(current)
