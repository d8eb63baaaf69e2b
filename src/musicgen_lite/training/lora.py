"""Low-rank adaptation (LoRA, Hu et al. 2021, arXiv:2106.09685), by the library peft.

Some linear layers get an addition of two thin matrices, alone trained: `rank` x (inputs + outputs) numbers each. The second
starts as zeros, so that a training starts from the very model. A model with additions has other names of weights, and decoders
do not know it: whoever keeps it or generates with it takes what `merged` gives.
"""

import copy
import re

import torch
from torch import nn

from musicgen_lite import models
from musicgen_lite.errors import UserError, require
from musicgen_lite.models import LanguageModel, ModelConfig
from musicgen_lite.params_train import LoraParams

PARAMETER = "train.lora.targets"


def linear_layers(config: ModelConfig) -> list[str]:
    """What targets may name in a model of this config: its linear layers, those of the blocks without the block's number."""
    with torch.device("meta"):
        model = models.build(config)
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    return list(dict.fromkeys(re.sub(r"^blocks\.\d+\.", "", name) for name in names))


def check(lora: LoraParams, config: ModelConfig) -> None:
    """Raise UserError naming the targets that the model does not have, and where peft is not installed."""
    known = linear_layers(config)
    unknown = [name for name in lora.targets if name not in known]
    if unknown:
        raise UserError(
            f"{PARAMETER}: found {', '.join(unknown)}, which model.type {config.type} does not have; it has {', '.join(known)}"
        )
    require(
        "peft", extra="finetune", purpose="train.lora", otherwise="or set train.lora.rank to 0, to train all weights"
    )


def adapt(model: LanguageModel, lora: LoraParams) -> None:
    """Add to the targets of a model, in place, and freeze all else. The additions come from torch's global generator."""
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=_modules(model, lora.targets)
    )
    inject_adapter_in_model(config, model)


def _modules(model: LanguageModel, targets: tuple[str, ...]) -> list[str]:
    """The layers of all blocks that targets name: a name of their end alone would also match longer ones."""
    return [name for name, _ in model.named_modules() if re.sub(r"^blocks\.\d+\.", "", name) in targets]


def merged(model: LanguageModel) -> LanguageModel:
    """A copy of the model with what was added in its weights, under the names of any model; one without additions as it is."""
    if not hasattr(model, "peft_config"):
        return model
    from peft.tuners.tuners_utils import BaseTunerLayer

    model = copy.deepcopy(model)
    for name, layer in list(model.named_modules()):
        if isinstance(layer, BaseTunerLayer):
            layer.merge()
            model.set_submodule(name, layer.get_base_layer())
    del model.peft_config
    return model
