"""The learning rate of the text encoder's and of CLAP's training."""

import math
from typing import Any


def learning_rate(step: int, params: dict[str, Any]) -> float:
    """Linear warmup to `learning_rate` over `warmup_steps`, then a cosine to 2 % of it at `steps`."""
    ramp = min(1.0, (step + 1) / params["warmup_steps"])
    cosine = 0.5 * (1 + math.cos(math.pi * step / params["steps"]))
    return float(params["learning_rate"] * ramp * (0.02 + 0.98 * cosine))
