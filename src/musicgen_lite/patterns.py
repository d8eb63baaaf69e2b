"""Codebook patterns: at which step of a sequence each code of a clip is predicted.

A clip is a grid of cells (q, t): codebook q of frame t. A pattern places every cell in one step of a sequence; a model
predicts all cells of a step at once, given all earlier steps. Three patterns of MusicGen (Copet et al. 2023,
arXiv:2306.05284, section 2.2) are here; a new one is a new row of `PATTERNS`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Pattern:
    """Cell (q, t) of `n` codebooks is predicted in step `stride(n) * t + offset(q)`."""

    name: str
    stride: Callable[[int], int]
    offset: Callable[[int], int]

    def flattened(self, num_codebooks: int) -> bool:
        """Whether every step holds a single cell."""
        stride = self.stride(num_codebooks)
        return len({self.offset(q) % stride for q in range(num_codebooks)}) == num_codebooks

    def layout(self, frames: int, num_codebooks: int, device: torch.device | str = "cpu") -> "Layout":
        """The layout of a clip of `frames` frames; layouts are cached."""
        return _layout(self, frames, num_codebooks, torch.device(device))

    def positions(self, frames: int, num_codebooks: int) -> int:
        """How many time positions a clip of `frames` frames takes; delayed cells run past the last frame."""
        last = self.stride(num_codebooks) * (frames - 1) + self.offset(num_codebooks - 1)
        return last // self.stride(num_codebooks) + 1


PATTERNS = {
    pattern.name: pattern
    for pattern in (
        Pattern("interleaved", stride=lambda n: n, offset=lambda q: q),
        Pattern("delay", stride=lambda n: 1, offset=lambda q: q),
        Pattern("parallel", stride=lambda n: 1, offset=lambda q: 0),
    )
}


def get(name: str) -> Pattern:
    """The pattern of that name; ValueError for an unknown one."""
    if name not in PATTERNS:
        raise ValueError(f"unknown pattern {name!r}; allowed: {', '.join(PATTERNS)}")
    return PATTERNS[name]


@dataclass(frozen=True)
class Layout:
    """One pattern laid over a clip of T frames and N_q codebooks: S steps with C cells each.

    C is 1 where every step holds a single cell (flattened), else N_q: then slot c belongs to codebook c, and slots
    without a cell of the clip are empty.
    """

    steps: int
    cells: int
    step: Tensor  # [N_q, T]: the step of each cell
    host_step: np.ndarray  # the same on the host: who asks for it need not wait for a GPU
    codebook: Tensor  # [S, C]: the codebook of each slot
    position: Tensor  # [S]: index of the frame in which the step falls
    source: Tensor  # [S, C]: index into the clip's flattened cells, q * T + t; N_q * T where the slot is empty

    def build(self, codes: Tensor, special: int) -> Tensor:
        """Codes `[B, N_q, T]` as a sequence of steps `[B, S, C]`; empty slots hold `special`."""
        flat = torch.cat([codes.flatten(1), codes.new_full((len(codes), 1), special)], dim=1)
        return flat[:, self.source]

    def revert(self, sequence: Tensor) -> Tensor:
        """The codes `[B, N_q, T]` of a sequence `[B, S, C]`: the inverse of `build`."""
        num_codebooks = len(self.step)
        slot = torch.arange(num_codebooks, device=self.step.device)[:, None] % self.cells
        return sequence[:, self.step, slot]

    def inputs(self, codes: Tensor, special: int) -> Tensor:
        """What a model reads at each step, `[B, S, C]`: the cells of the step before, `special` before the first."""
        sequence = self.build(codes, special)
        return torch.cat([sequence.new_full((len(codes), 1, self.cells), special), sequence[:, :-1]], dim=1)

    @property
    def input_codebook(self) -> Tensor:
        """The codebook of each slot of `inputs`, `[S, C]`."""
        return torch.cat([self.codebook[:1], self.codebook[:-1]])

    @cached_property
    def cells_of(self) -> list[list[tuple[int, int, int]]]:
        """For each step the slot, codebook and frame of each of its cells; empty slots have none."""
        found: list[list[tuple[int, int, int]]] = [[] for _ in range(self.steps)]
        for codebook, steps in enumerate(self.host_step.tolist()):
            for frame, step in enumerate(steps):
                found[step].append((codebook % self.cells, codebook, frame))
        return found


@lru_cache(maxsize=64)
def _layout(pattern: Pattern, frames: int, num_codebooks: int, device: torch.device) -> Layout:
    if frames < 1 or num_codebooks < 1:
        raise ValueError(f"a layout needs at least one frame and one codebook, found {frames} and {num_codebooks}")
    with torch.inference_mode(False):  # cached: a layout first used in validation must serve training too
        return _make_layout(pattern, frames, num_codebooks, device)


def _make_layout(pattern: Pattern, frames: int, num_codebooks: int, device: torch.device) -> Layout:
    stride = pattern.stride(num_codebooks)
    offset = np.array([pattern.offset(q) for q in range(num_codebooks)])
    host_step = stride * np.arange(frames) + offset[:, None]
    steps = int(host_step.max()) + 1
    step = torch.tensor(host_step)
    cells = 1 if pattern.flattened(num_codebooks) else num_codebooks
    slot = (torch.arange(num_codebooks) % cells)[:, None].expand_as(step)
    source = torch.full((steps, cells), num_codebooks * frames)
    source[step, slot] = torch.arange(num_codebooks * frames).view(num_codebooks, frames)
    codebook = source // frames if cells == 1 else torch.arange(num_codebooks).expand(steps, num_codebooks)
    position = torch.arange(steps) // stride
    step, codebook, position, source = (x.contiguous().to(device) for x in (step, codebook, position, source))
    return Layout(steps, cells, step, host_step, codebook, position, source)
