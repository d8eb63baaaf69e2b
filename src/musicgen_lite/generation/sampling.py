"""How a code is drawn from logits, reproducibly for each item."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from musicgen_lite.errors import UserError
from musicgen_lite.models.core.conditions import Conditions


def item_seed(*parts: str | int) -> int:
    """The seed of the item that `parts` name; it does not depend on other items."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:6], "big")


@dataclass(frozen=True)
class Sampling:
    """temperature: above 0; top_k: 0 keeps all codes, 1 is greedy; top_p: 0 keeps all; guidance: 1 is none.

    Guidance is classifier-free (Ho and Salimans 2022): logits = uncond + guidance * (cond - uncond). With
    `guidance_audio` the audio prompt has a scale of its own (Brooks et al. 2023, arXiv:2211.09800, section 3.2.1):
    logits = uncond + guidance * (text - uncond) + guidance_audio * (text and prompt - text).
    UserError names a value that is not allowed.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 0.0
    guidance: float = 1.0
    guidance_audio: float | None = None

    def __post_init__(self) -> None:
        if not (self.temperature > 0 and math.isfinite(self.temperature)):
            raise UserError(
                f"temperature: found {self.temperature}; it must be above 0 (for greedy codes set top_k to 1)"
            )
        if self.top_k < 0:
            raise UserError(f"top_k: found {self.top_k}; it must be 0 (all codes) or more")
        if not 0 <= self.top_p < 1:
            raise UserError(f"top_p: found {self.top_p}; it must be at least 0 (all codes) and below 1")
        for name in ("guidance", "guidance_audio"):
            scale = getattr(self, name)
            if scale is not None and not (scale >= 0 and math.isfinite(scale)):
                raise UserError(f"{name}: found {scale}; it must be 0 or more (1 is no guidance)")

    def branches(self, conditions: Conditions) -> list[tuple[float, Conditions]]:
        """The conditions of each branch of guidance and its weight in the guided logits; the weights sum to 1."""
        unconditional = conditions.without_text().without_prompt()
        if self.guidance_audio is not None and conditions.prompt is not None:
            text, both = conditions.without_prompt(), conditions
            weights = (self.guidance_audio, self.guidance - self.guidance_audio, 1 - self.guidance)
            branches = list(zip(weights, (both, text, unconditional), strict=True))
        else:
            branches = [(self.guidance, conditions), (1 - self.guidance, unconditional)]
        return [(weight, given) for weight, given in branches if weight]


def uniforms(seeds: Sequence[int], steps: int, cells: int, device: torch.device | str = "cpu") -> Tensor:
    """Numbers in [0, 1) for all steps of a decoding, float64 `[S, B, C]`, each item's from a generator of its own.

    Those of an item's first steps depend neither on how many follow, nor on the other items. They are drawn on the host, so
    that a GPU uses the same numbers as a CPU.
    """
    numbers = torch.empty(len(seeds), steps, cells, dtype=torch.float64)
    for row, seed in zip(numbers, seeds, strict=True):
        row.uniform_(generator=torch.Generator().manual_seed(seed))
    return numbers.transpose(0, 1).contiguous().to(device)


def draw_guided(logits: Tensor, uniforms: Tensor, scales: Sequence[float], sampling: Sampling) -> Tensor:
    """Codes `[B, C]` from logits `[branches, B, C, K]`, of which each branch has a scale; see `draw`."""
    mixed = sum(scale * branch.float() for scale, branch in zip(scales, logits, strict=True))
    assert isinstance(mixed, Tensor), "there is at least one branch"
    return draw(mixed, uniforms, sampling)


def draw(logits: Tensor, uniforms: Tensor, sampling: Sampling) -> Tensor:
    """Codes `[B, C]` from logits `[B, C, K]` and one uniform number each, `[B, C]`.

    The code at which the cumulated probability passes the number follows the distribution exactly (inverse transform)
    and, unlike a multinomial draw, waits for nothing on a GPU.
    """
    logits = logits.float() / sampling.temperature
    if 0 < sampling.top_k < logits.shape[-1]:
        least = logits.topk(sampling.top_k, dim=-1, sorted=False).values.amin(dim=-1, keepdim=True)
        logits = logits.masked_fill(logits < least, -torch.inf)
    if sampling.top_p > 0:
        ordered, order = logits.softmax(dim=-1).sort(dim=-1, descending=True, stable=True)
        # A code stays if the more likely ones together have not reached top_p; the most likely one always stays.
        beyond = ordered.cumsum(dim=-1) - ordered >= sampling.top_p
        logits = logits.masked_fill(beyond.scatter(-1, order, beyond), -torch.inf)
    cumulated = (logits - logits.amax(dim=-1, keepdim=True)).exp().double().cumsum(dim=-1)
    passed = cumulated > uniforms[..., None] * cumulated[..., -1:]
    return passed.int().argmax(dim=-1)
