"""The decoder that the fast ones are compared with: the model's own steps, as they stand."""

from collections.abc import Sequence
from functools import partial

from torch import Tensor

from musicgen_lite.generation.prefill import prefill
from musicgen_lite.generation.sampling import Sampling, draw_guided
from musicgen_lite.models import LanguageModel


class PlainDecoder:
    def __init__(self, model: LanguageModel) -> None:
        self.start = partial(prefill, model)
        self.logits = model.step

    def draw(self, logits: Tensor, scales: Sequence[float], uniforms: Tensor, sampling: Sampling) -> Tensor:
        return draw_guided(logits, uniforms, scales, sampling)
