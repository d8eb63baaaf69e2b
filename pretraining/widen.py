"""Start a wider codec from a trained narrow one, so that it computes the same (Net2Net, Chen et al. 2016)."""

from typing import Any

import torch
from torch import Tensor, nn

Convolution = nn.Conv1d | nn.ConvTranspose1d


def block(new: Tensor, old: Tensor, outputs: int = 0) -> None:
    """Write `old` into the first channels of `new` in place; `outputs` is the axis of the output channels.

    What the further inputs give to the old outputs becomes zero; what reaches the further outputs stays as it is.
    """
    inside = tuple(slice(size) for size in old.shape)
    ours = list(inside)
    ours[1 - outputs] = slice(None)
    new[tuple(ours)] = 0.0
    new[inside] = old


@torch.no_grad()
def widen(model: Any, start: Any) -> None:
    """Make `model`, an EncodecModel at least as wide as `start` and otherwise alike, compute what `start` does.

    Its further channels keep the weights that they have, and are not heard until training connects them.
    """
    narrow_modules: dict[str, Any] = dict(start.named_modules())
    module: Any
    for name, module in model.named_modules():
        if isinstance(module, Convolution):
            old = narrow_modules[name]
            weight = module.weight.clone()
            block(weight, old.weight, outputs=int(isinstance(module, nn.ConvTranspose1d)))
            module.weight = weight  # weight norm splits it into direction and gain
            bias: Any = module.bias
            bias[: len(old.bias)] = old.bias
        elif isinstance(module, nn.LSTM):
            for key, parameter in module.named_parameters():
                # Four gates, one below the other.
                narrow: Tensor = getattr(narrow_modules[name], key).unflatten(0, (4, -1))
                new: Tensor = parameter.unflatten(0, (4, -1))
                for ours, theirs in zip(new, narrow, strict=True):
                    if ours.dim() == 2:
                        block(ours, theirs)
                    else:
                        ours[: len(theirs)] = theirs
    model.quantizer.load_state_dict(start.quantizer.state_dict())
