"""The beginning of a decoding in float32: what is given goes through all blocks at once, the same for any batch."""

import torch
from torch import Tensor

from musicgen_lite.models.core.base import DecodingState, LanguageModel
from musicgen_lite.models.core.conditions import Conditions

# With fewer rows than this, torch's matrix products on a CPU take another path, whose sums round differently. Smaller
# batches are padded to it when a decoding starts, so that an item's codes do not depend on its batch.
MIN_ROWS = 4


def prefill(model: LanguageModel, conditions: Conditions, frames: int, prompt_tokens: Tensor) -> DecodingState:
    """`LanguageModel.start`, computed for `MIN_ROWS` rows at least."""
    rows = len(conditions)
    padded = torch.arange(max(rows, MIN_ROWS), device=conditions.text.device).clamp_max(rows - 1)
    return model.start(conditions[padded], frames, prompt_tokens[padded]).first(rows)
