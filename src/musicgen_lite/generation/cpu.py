"""The decoding step on a CPU: the same as `LanguageModel.step`, several times faster, with weights in small formats."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from musicgen_lite.generation import kernels
from musicgen_lite.generation.sampling import Sampling
from musicgen_lite.models.core.base import DecodingState, LanguageModel
from musicgen_lite.models.core.pointer import TINY, PointerHead
from musicgen_lite.models.core.transformer import Block, CrossBlock

WEIGHTS = ("float32", "bfloat16", "int8")

Linear = tuple[np.ndarray, np.ndarray]  # weight [N, K] as stored, scale [N]


def pack(weight: Tensor, stored: str) -> Linear:
    """A matrix `[N, K]` in the kernels' format: float32, the bits of bfloat16, or int8 with a scale for each row."""
    weight = weight.detach().float().contiguous()
    ones = np.ones(len(weight), np.float32)
    if stored == "float32":
        return weight.numpy(), ones
    if stored == "bfloat16":
        return weight.bfloat16().view(torch.uint16).numpy(), ones
    scale = weight.abs().amax(dim=1).clamp_min(1e-12) / 127
    return (weight / scale[:, None]).round().to(torch.int8).numpy(), scale.numpy()


class CpuDecoder:
    """A model's steps with packed weights, on the float32 states that `LanguageModel.start` makes."""

    def __init__(self, model: LanguageModel, stored: str) -> None:
        if model.head.dtype != torch.float32:
            raise ValueError(
                f"a model in {model.head.dtype}; on a CPU it must be float32; `weights` sets the format that it is packed into"
            )
        self.config = model.config
        self.layers = [_layer(block, stored) for block in cast(list[Block], model.blocks)]
        self.norm = _norm(model.norm)
        self.table = model.code_embedding.weight.detach().numpy()
        self.pointer = None if model.pointer is None else _pointer(model.pointer)
        self.heads = [pack(head, stored) for head in (model.head if model.flattened else [model.head.flatten(0, 1)])]

    def logits(self, cells: Tensor, state: DecodingState) -> Tensor:
        """Logits `[B, C, K]` of the state's next step, given the cells `[B, C]` of the step before it."""
        s = state.step
        x = kernels.embed(
            cells.numpy(), state.codebook_offsets[s].numpy(), self.table, state.step_embeddings[s].numpy()
        )
        bias = _bias(state.positions.bias, len(x), state.caches[0].keys.shape[2])
        rotations = _rotations(state.positions.rotations)
        memory_bias = None if state.context.memory_bias is None else _bias(state.context.memory_bias, len(x), 0)
        for layer, cache in zip(self.layers, state.caches, strict=True):
            kernels.self_attention(
                x, *layer["self"], cache.keys.mT.numpy(), cache.values.numpy(), bias, rotations, state.prefix_length + s
            )
            if cache.memory_keys is not None and cache.memory_values is not None:
                memory = cache.memory_keys.mT.numpy(), cache.memory_values.numpy()
                kernels.cross_attention(x, *layer["cross"], *memory, memory_bias)
            kernels.mlp(x, *layer["mlp"])
        state.step += 1
        weight, scale = self.heads[state.codebooks[s] % len(self.heads)]
        logits = np.empty((len(x), len(weight)), np.float32)
        hidden = kernels.layer_norm(x, *self.norm)
        kernels.matmul(hidden, weight, scale, logits)
        cell_logits = logits.reshape(len(x), -1, self.config.codebook_size)
        if self.pointer is not None and state.pointer is not None:
            state.pointer.record(cells, state.layout, s - 1)
            keys, codes = state.pointer.keys.numpy(), state.pointer.codes.numpy()
            found = np.array(state.layout.cells_of[s], np.int64)
            kernels.point(cell_logits, hidden, self.pointer, keys, codes, found, np.float32(TINY))
        return torch.from_numpy(cell_logits)

    def draw(self, logits: Tensor, scales: Sequence[float], uniforms: Tensor, sampling: Sampling) -> Tensor:
        """Codes `[B, C]` from logits `[branches, B, C, K]`; see `sampling.draw`."""
        codes = kernels.draw(
            logits.numpy(), np.array(scales, np.float32), uniforms.numpy(),
            np.float32(sampling.temperature), sampling.top_k, sampling.top_p,
        )  # fmt: skip
        return torch.from_numpy(codes)


def _layer(block: Block, stored: str) -> dict[str, tuple[Any, ...]]:
    """The packed weights of each part of a block, in the order of its kernel's arguments."""
    attention = block.attention
    parts: dict[str, tuple[Any, ...]] = {
        "self": (
            _norm(block.attention_norm),
            pack(attention.qkv.weight, stored),
            pack(attention.out.weight, stored),
        ),
        "mlp": (_norm(block.mlp_norm), pack(block.up.weight, stored), pack(block.down.weight, stored)),
    }
    if isinstance(block, CrossBlock):
        cross = block.cross
        parts["cross"] = _norm(block.cross_norm), pack(cross.q.weight, stored), pack(cross.out.weight, stored)
    return parts


def _pointer(head: PointerHead) -> tuple[np.ndarray, ...]:
    """Its weights in float32, in the order of the kernel's argument."""
    parts = head.query, head.key, head.gate, head.gate_bias, head.temperature.exp()
    return tuple(part.detach().float().contiguous().numpy() for part in parts)


def _norm(norm: nn.LayerNorm) -> tuple[np.ndarray, np.ndarray]:
    return norm.weight.detach().float().numpy(), norm.bias.detach().float().numpy()


def _bias(bias: Tensor | None, rows: int, length: int) -> np.ndarray:
    """`[B, 1, 1, L]` or none as `[B, L]`."""
    return np.zeros((rows, length), np.float32) if bias is None else bias[:, 0, 0].contiguous().numpy()


def _rotations(rotations: Tensor | None) -> np.ndarray:
    """Complex `[L, d_head / 2]` or none as cosines and sines `[L, d_head / 2, 2]`; none are of length 0."""
    return np.zeros((0, 0, 2), np.float32) if rotations is None else torch.view_as_real(rotations).numpy()
