"""The decoding step on a CPU: the same as `LanguageModel.step`, several times faster, with weights in small formats."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from musicgen_lite.generation import kernels
from musicgen_lite.generation.kernels import layers
from musicgen_lite.generation.prefill import prefill
from musicgen_lite.generation.sampling import Sampling
from musicgen_lite.models.core.base import DecodingState, LanguageModel
from musicgen_lite.models.core.conditions import Conditions
from musicgen_lite.models.core.pointer import TINY, PointerHead
from musicgen_lite.models.core.transformer import Block, CrossBlock

Linear = tuple[np.ndarray, np.ndarray]  # weight [N, K] as stored, scale [N]
Norm = tuple[np.ndarray, np.ndarray]  # weight [1, d], bias [1, d]


def pack(weight: Tensor, stored: str, amx: bool = False) -> Linear:
    """A matrix `[N, K]` in the kernels' format: float32, the bits of bfloat16, or int8 with a scale for each row.

    amx: bfloat16 as `kernels.amx.pack` orders it, int8 as `kernels.amx.pack_int8` does.
    """
    weight = weight.detach().float().contiguous()
    ones = np.ones(len(weight), np.float32)
    if stored == "float32":
        return weight.numpy(), ones
    if stored == "bfloat16":
        rounded = weight.bfloat16()
        return (kernels.amx.pack(rounded) if amx else rounded).view(torch.uint16).numpy(), ones
    scale = weight.abs().amax(dim=1).clamp_min(1e-12) / 127
    multiples = (weight / scale[:, None]).round().to(torch.int8)
    return (kernels.amx.pack_int8(multiples) if amx else multiples).numpy(), scale.numpy()


@dataclass
class Steps:
    """What the steps of one decoding compute with: a team of threads, buffers, and the operations of a step.

    operations: `[n, FIELDS]` as `kernels.layers` reads them, the last one for the logits of the first head; heads: that
    one for each head; x: the residual stream `[R, d]`; logits: `[R, C * K]`; scratch: `[threads, numbers]`; kept: the
    arrays whose addresses the operations hold.
    """

    team: kernels.Team
    operations: np.ndarray
    heads: np.ndarray
    x: np.ndarray
    logits: np.ndarray
    scratch: np.ndarray
    cache: np.ndarray
    kept: list[np.ndarray]


class CpuDecoder:
    """A model's steps with packed weights, on the states that `start` makes, with keys and values in float32 or bfloat16.

    A step runs on as many threads as torch has where its state takes its first one, and there are cores.
    """

    def __init__(self, model: LanguageModel, stored: str, kv_cache: str = "float32") -> None:
        if model.head.dtype != torch.float32:
            raise ValueError(
                f"a model in {model.head.dtype}; on a CPU it must be float32; `weights` sets the format that it is packed into"
            )
        self.config, self.stored = model.config, stored
        self._model, self._kv_cache = model, getattr(torch, kv_cache)
        self.amx = stored != "float32" and kernels.amx.available()
        packed = partial(pack, stored=stored, amx=self.amx)
        self.layers = [_layer(block, packed) for block in cast(list[Block], model.blocks)]
        self.norm = _norm(model.norm)
        self.table = model.code_embedding.weight.detach().numpy()
        self.pointer = None if model.pointer is None else _pointer(model.pointer)
        self.heads = [packed(head) for head in (model.head if model.flattened else [model.head.flatten(0, 1)])]

    @property
    def path(self) -> str:
        """On what and in which formats it computes, for people."""
        threads, kv_cache = kernels.team_size(torch.get_num_threads()), str(self._kv_cache).removeprefix("torch.")
        return (
            f"kernels for {kernels.instruction_set()}{' with AMX' if self.amx else ''} "
            f"on {threads} thread{'s' if threads > 1 else ''}, "
            f"weights {self.stored}, keys and values {kv_cache}"
        )

    def start(self, conditions: Conditions, frames: int, prompt_tokens: Tensor) -> DecodingState:
        """The prefill in float32, whose keys and values are then rounded to nearest, of two equally near to the even one."""
        state = prefill(self._model, conditions, frames, prompt_tokens)
        for number, cache in enumerate(state.caches):
            state.caches[number] = cache.to(self._kv_cache)
        return state

    def logits(self, cells: Tensor, state: DecodingState) -> Tensor:
        """Logits `[B, C, K]` of the state's next step, given the cells `[B, C]` of the step before it."""
        s = state.step
        if state.compiled is None:
            state.compiled = self._steps(state, len(cells))
        steps = cast(Steps, state.compiled)
        kernels.embed(
            cells.numpy(), state.codebook_offsets[s].numpy(), self.table, state.step_embeddings[s].numpy(), steps.x
        )
        steps.operations[-1] = steps.heads[state.codebooks[s] % len(self.heads)]
        rows, dim = steps.x.shape
        steps.team.run(
            kernels.run,
            steps.operations,
            rows,
            dim,
            state.prefix_length + s,
            self.heads[0][0],
            steps.cache,
            steps.scratch,
        )
        state.step += 1
        logits = steps.logits.reshape(rows, -1, self.config.codebook_size).copy()
        if self.pointer is not None and state.pointer is not None:
            state.pointer.record(cells, state.layout, s - 1)
            keys, codes = state.pointer.keys.numpy(), state.pointer.codes.numpy()
            found = np.array(state.layout.cells_of[s], np.int64)
            kernels.point(logits, steps.x, self.norm, self.pointer, keys, codes, found, np.float32(TINY))
        return torch.from_numpy(logits)

    def _steps(self, state: DecodingState, rows: int) -> Steps:
        """The buffers and operations for `rows` rows of a state."""
        team, dim, heads = kernels.Team(torch.get_num_threads()), self.config.d_model, self.config.heads
        capacity = state.caches[0].keys.shape[2]
        x, projected, mixed, hidden = (np.empty((rows, width * dim), np.float32) for width in (1, 3, 1, 4))
        logits = np.empty((rows, len(self.heads[0][1])), np.float32)
        bias, rotated = _bias(state.positions.bias, rows, capacity), _rotations(state.positions.rotations)
        memory_bias = _bias(state.context.memory_bias, rows, 0)
        kept = [x, projected, mixed, hidden, logits, bias, rotated, memory_bias]

        def address(array: np.ndarray) -> int:
            kept.append(array)
            return int(array.ctypes.data) if array.size else 0

        def linear(source: np.ndarray, norm: Norm | None, packed: Linear, target: np.ndarray, then: int) -> list[int]:
            places = [0, 0] if norm is None else list(map(address, norm))
            weight, scale = packed
            return [
                layers.LINEAR, address(source), *places, address(weight), address(scale), source.shape[1], len(scale),
                address(target), then,
            ]  # fmt: skip

        def attend(keys: Tensor, values: Tensor, hiding: np.ndarray, own: bool) -> list[int]:
            stored = [_bits(keys.mT), _bits(values)]
            assert all(array.flags.c_contiguous for array in (*stored, hiding))
            turns = address(rotated) if own else 0
            return [
                layers.ATTEND, address(projected), *map(address, (*stored, hiding, mixed)), keys.shape[2], heads, turns, own,
            ]  # fmt: skip

        operations = []
        for layer, cache in zip(self.layers, state.caches, strict=True):
            norm, qkv, out = layer["self"]
            operations.append(linear(x, norm, qkv, projected, layers.STORE))
            operations.append(attend(cache.keys, cache.values, bias, own=True))
            operations.append(linear(mixed, None, out, x, layers.ADD))
            if cache.memory_keys is not None and cache.memory_values is not None:
                norm, query, out = layer["cross"]
                operations.append(linear(x, norm, query, projected, layers.STORE))
                operations.append(attend(cache.memory_keys, cache.memory_values, memory_bias, own=False))
                operations.append(linear(mixed, None, out, x, layers.ADD))
            norm, up, down = layer["mlp"]
            operations.append(linear(x, norm, up, hidden, layers.GELU))
            operations.append(linear(hidden, None, down, x, layers.ADD))
        last = [linear(x, self.norm, head, logits, layers.STORE) for head in self.heads]
        scratch = torch.empty(team.threads, kernels.room(rows, dim, 4 * dim, max(capacity, memory_bias.shape[1])))
        return Steps(
            team, np.array([*operations, last[0]], np.int64), np.array(last, np.int64), x, logits,
            scratch.numpy(), _bits(state.caches[0].keys.new_empty(0, 0)), kept,
        )  # fmt: skip

    def draw(self, logits: Tensor, scales: Sequence[float], uniforms: Tensor, sampling: Sampling) -> Tensor:
        """Codes `[B, C]` from logits `[branches, B, C, K]`; see `sampling.draw`."""
        codes = kernels.draw(
            logits.numpy(), np.array(scales, np.float32), uniforms.numpy(),
            np.float32(sampling.temperature), sampling.top_k, sampling.top_p,
        )  # fmt: skip
        return torch.from_numpy(codes)


def _layer(block: Block, packed: Callable[[Tensor], Linear]) -> dict[str, tuple[Any, ...]]:
    """The packed weights of each part of a block, in the order of its kernel's arguments."""
    attention = block.attention
    parts: dict[str, tuple[Any, ...]] = {
        "self": (
            _norm(block.attention_norm),
            packed(attention.qkv.weight),
            packed(attention.out.weight),
        ),
        "mlp": (_norm(block.mlp_norm), packed(block.up.weight), packed(block.down.weight)),
    }
    if isinstance(block, CrossBlock):
        cross = block.cross
        parts["cross"] = _norm(block.cross_norm), packed(cross.q.weight), packed(cross.out.weight)
    return parts


def _pointer(head: PointerHead) -> tuple[np.ndarray, ...]:
    """Its weights in float32, in the order of the kernel's argument."""
    parts = head.query, head.key, head.gate, head.gate_bias, head.temperature.exp()
    return tuple(part.detach().float().contiguous().numpy() for part in parts)


def _norm(norm: nn.LayerNorm) -> Norm:
    """Weight and bias, each `[1, d]`."""
    return norm.weight.detach().float()[None].numpy(), norm.bias.detach().float()[None].numpy()


def _bits(cache: Tensor) -> np.ndarray:
    """Keys or values as the kernels read them: float32, or the bits of bfloat16."""
    return cache.numpy() if cache.dtype == torch.float32 else cache.view(torch.uint16).numpy()


def _bias(bias: Tensor | None, rows: int, length: int) -> np.ndarray:
    """`[B, 1, 1, L]` or none as `[B, L]`."""
    return np.zeros((rows, length), np.float32) if bias is None else bias[:, 0, 0].contiguous().numpy()


def _rotations(rotations: Tensor | None) -> np.ndarray:
    """Complex `[L, d_head / 2]` or none as cosines and sines `[L, d_head / 2, 2]`; none are of length 0."""
    return np.zeros((0, 0, 2), np.float32) if rotations is None else torch.view_as_real(rotations).numpy()
