"""The learning rate of the text encoder's and of CLAP's training."""

from typing import Any

from musicgen_lite.training.schedule import cosine_decay, linear_warmup


def learning_rate(step: int, params: dict[str, Any]) -> float:
    """Linear warmup to `learning_rate` over `warmup_steps`, then a cosine to 2 % of it at `steps`."""
    ramp = linear_warmup(step, params["warmup_steps"])
    return float(params["learning_rate"] * ramp * cosine_decay(step, params["steps"], 0.02))
