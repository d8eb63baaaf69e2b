"""EnCodec's layers prepared for inference: what does not depend on the audio is computed once, with equal results.

transformers and the `encodec` package recompute normalised weights and paddings at every call, and pad by reflection with
an operation that is slow on a CPU. On windows of a second that is a quarter of the time.
"""

from typing import Any

import torch
from torch import Tensor, nn


def fold_weight_norm(layer: nn.Module) -> nn.Module:
    """The layer with weight norm folded into its weights, and convolutions that do their own padding; partly in place."""
    for part in layer.modules():
        if nn.utils.parametrize.is_parametrized(part):
            nn.utils.parametrize.remove_parametrizations(part, "weight")
        elif hasattr(part, "weight_g"):  # torch's older weight norm
            nn.utils.remove_weight_norm(part)
    return _with_padding(layer)


def _with_padding(layer: nn.Module) -> nn.Module:
    if getattr(layer, "pad_mode", None) == "reflect":
        return _Convolution(layer)
    for name, child in layer.named_children():
        setattr(layer, name, _with_padding(child))
    return layer


class _Convolution(nn.Module):
    """A convolution of either package with reflect padding on both sides, or on the left if causal, up to whole strides."""

    def __init__(self, given: Any) -> None:
        super().__init__()
        self.given = given
        self.conv = next(part for part in given.modules() if isinstance(part, nn.Conv1d))
        (size,), (self.stride,), (dilation,) = self.conv.kernel_size, self.conv.stride, self.conv.dilation
        overlap = (size - 1) * dilation + 1 - self.stride
        self.right = 0 if given.causal else overlap // 2
        self.left = overlap - self.right

    def forward(self, signal: Tensor) -> Tensor:
        """`[B, C', T']` of `signal` `[B, C, T]`."""
        length = signal.shape[-1]
        right = self.right + -length % self.stride
        if length <= max(self.left, right):  # too short for reflect padding: the package has its own rule
            return self.given(signal)
        if self.left or right:
            before, after = signal[..., 1 : self.left + 1], signal[..., length - right - 1 : length - 1]
            signal = torch.cat([before.flip(-1), signal, after.flip(-1)], dim=-1)
        return self.conv(signal)
