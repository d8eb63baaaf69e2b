"""The decoder that all models are made of: pre-norm blocks of causal self-attention, cross-attention and a GELU MLP.

Linear layers carry no bias, as in MusicGen, so that weights map one to one onto other implementations of it.
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

INIT_STD = 0.02  # GPT-2's; code, position and type embeddings start at this scale


@dataclass(frozen=True)
class Context:
    """What a decoder reads besides the codes: a prefix or a memory.

    prefix: `[B, P, d]`, stands before the first step (Model A); memory: `[B, M, d]`, read by cross-attention (the others).
    prefix_mask: `[B, P]`, True where visible; memory_bias: `[B, 1, 1, M]`, see `key_bias`.
    """

    prefix: Tensor | None = None
    prefix_mask: Tensor | None = None
    memory: Tensor | None = None
    memory_bias: Tensor | None = None

    def first(self, rows: int) -> "Context":
        """The context of the first rows of the batch."""
        return Context(*(x if x is None else x[:rows] for x in vars(self).values()))


@dataclass(frozen=True)
class Positions:
    """What self-attention knows of the positions of a sequence, the P of a prefix and then the S steps.

    bias: `[B, 1, 1, P + S]`, see `key_bias`, or None where all are visible; rotations: complex `[P + S, d_head / 2]`, see
    `rotations`, or None where queries and keys are not rotated.
    """

    bias: Tensor | None
    rotations: Tensor | None

    def first(self, rows: int) -> "Positions":
        """Those of the first rows of the batch."""
        return replace(self, bias=None if self.bias is None else self.bias[:rows])


@dataclass
class LayerCache:
    """Keys and values of one layer, `[B, H, capacity, d_head]`; those of the memory are computed once."""

    keys: Tensor
    values: Tensor
    memory_keys: Tensor | None = None
    memory_values: Tensor | None = None

    def first(self, rows: int) -> "LayerCache":
        """The cache of the first rows of the batch; it writes into the same memory."""
        memory = (None if x is None else x[:rows] for x in (self.memory_keys, self.memory_values))
        return LayerCache(self.keys[:rows], self.values[:rows], *memory)

    def to(self, dtype: torch.dtype) -> "LayerCache":
        """The cache in another format, with the same strides."""
        memory = (None if x is None else x.to(dtype) for x in (self.memory_keys, self.memory_values))
        return LayerCache(self.keys.to(dtype), self.values.to(dtype), *memory)

    def extend(self, keys: Tensor, values: Tensor, at: int) -> tuple[Tensor, Tensor]:
        """Write new positions from `at` on; returns everything filled so far."""
        end = at + keys.shape[2]
        self.keys[:, :, at:end] = keys
        self.values[:, :, at:end] = values
        return (self.keys[:, :, :end], self.values[:, :, :end]) if at else (keys, values)


def positions_last(keys: Tensor) -> Tensor:
    """Keys `[B, H, S, d_head]`, on a CPU with the positions contiguous in memory, so that scores are computed in vectors."""
    return keys.mT.contiguous().mT if keys.device.type == "cpu" else keys.contiguous()


def sinusoids(positions: int, dim: int, period: float = 10000.0) -> Tensor:
    """Sinusoidal embeddings `[positions, dim]` (Vaswani et al. 2017, section 3.5), cosines first, amplitude 1."""
    half = dim // 2
    rates = torch.exp(-math.log(period) * torch.arange(half, dtype=torch.float64) / (half - 1 if half > 1 else 1))
    angles = torch.arange(positions, dtype=torch.float64)[:, None] * rates
    return torch.cat([angles.cos(), angles.sin()], dim=1).float()


@lru_cache(maxsize=64)
def rotations(prefix: int, steps: int, dim: int, device: torch.device, period: float = 10000.0) -> Tensor:
    """By what each position turns the pairs of a query or key: complex numbers of length 1, `[prefix + steps, dim / 2]`.

    Rotary position embeddings (Su et al. 2021, arXiv:2104.09864): step s turns pair i by s * period ** (-2 i / dim), so
    that a score depends on the distance of two steps alone. Those of the last sizes are kept.
    """
    with torch.inference_mode(False):  # kept: those first used in validation must serve training too
        rates = period ** (-2 * torch.arange(dim // 2, dtype=torch.float64) / dim)
        # The whole prefix stands where the first step does, unturned. Its tokens have positions of their own, and places
        # before the steps would move with the padding of a batch, or leave short captions as far away as the longest.
        places = torch.arange(-prefix, steps, dtype=torch.float64).clamp_min(0)
        angles = places[:, None] * rates
        return torch.polar(torch.ones_like(angles), angles).to(torch.complex64).to(device)


def rotate(x: Tensor, turns: Tensor) -> Tensor:
    """Queries or keys `[B, H, S, d_head]`, each neighbouring pair turned by its position's `turns` `[S, d_head / 2]`."""
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    if torch.is_grad_enabled():
        turned = pairs * turns
    else:
        # A complex product may round once or twice, depending on where threads divide it. This sum of products with a real
        # and an imaginary number has the same bits everywhere, but takes twice as long, which training would feel.
        turned = pairs * turns.real + pairs * (1j * turns.imag)
    return torch.view_as_real(turned).flatten(-2).type_as(x)


def key_bias(mask: Tensor) -> Tensor:
    """A mask `[B, L]` as the bias `[B, 1, 1, L]` of attention scores: 0 where visible, -inf elsewhere."""
    return torch.zeros(mask.shape, device=mask.device).masked_fill(~mask, -torch.inf)[:, None, None]


def causal_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    """Causal attention of `[B, H, S, d_head]`, with `bias` `[B, 1, 1, S]` hiding some keys from every query.

    The public function takes a causal flag or a mask, not both, and a full mask costs the skipped upper triangle.
    The CPU kernel under it takes both.
    """
    if bias is None:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    if q.device.type == "cpu":
        return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, True, attn_mask=bias)[0]
    causal = torch.full((q.shape[2], k.shape[2]), -torch.inf, dtype=q.dtype, device=q.device).triu(1)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias + causal)


def merge_heads(x: Tensor) -> Tensor:
    """`[B, H, S, d_head]` to `[B, S, H * d_head]`."""
    return x.transpose(1, 2).flatten(2)


class SelfAttention(nn.Module):
    def __init__(self, d_model: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=False)
        self.out = nn.Linear(d_model, d_model, bias=False)

    def forward(self, x: Tensor, positions: Positions, cache: LayerCache | None = None, at: int = 0) -> Tensor:
        """x: `[B, S, d]` at positions `at` to `at + S` of the sequence.

        With a cache, `x` is either the whole beginning (`at` 0) or a single position after it.
        """
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if positions.rotations is not None:
            turns = positions.rotations[at : at + x.shape[1]]
            q, k = rotate(q, turns), rotate(k, turns)
        if cache is not None:
            k, v = cache.extend(k, v, at)
        bias = None if positions.bias is None else positions.bias[..., : k.shape[2]].to(q.dtype)
        if x.shape[1] == 1:
            return self.out(merge_heads(F.scaled_dot_product_attention(q, k, v, attn_mask=bias)))
        return self.out(merge_heads(causal_attention(q, k, v, bias)))


class Block(nn.Module):
    """Self-attention and MLP, each on a LayerNorm of the residual stream and added to it."""

    def __init__(self, d_model: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(d_model)
        self.attention = SelfAttention(d_model, heads)
        self.mlp_norm = nn.LayerNorm(d_model)
        self.up = nn.Linear(d_model, 4 * d_model, bias=False)
        self.down = nn.Linear(4 * d_model, d_model, bias=False)
        self.dropout = nn.Dropout(dropout)

    def attend(
        self, x: Tensor, positions: Positions, context: Context, cache: LayerCache | None = None, at: int = 0
    ) -> Tensor:
        return x + self.dropout(self.attention(self.attention_norm(x), positions, cache, at))

    def forward(
        self, x: Tensor, positions: Positions, context: Context, cache: LayerCache | None = None, at: int = 0
    ) -> Tensor:
        x = self.attend(x, positions, context, cache, at)
        return x + self.dropout(self.down(F.gelu(self.up(self.mlp_norm(x)))))

    def new_cache(self, context: Context, rows: int, capacity: int) -> LayerCache:
        """An empty cache for `rows` sequences of at most `capacity` positions."""
        weight = self.attention.qkv.weight
        shape = (rows, self.attention.heads, capacity, weight.shape[1] // self.attention.heads)
        return LayerCache(positions_last(weight.new_empty(shape)), weight.new_empty(shape))


class CrossAttention(nn.Module):
    def __init__(self, d_model: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(d_model, d_model, bias=False)
        self.kv = nn.Linear(d_model, 2 * d_model, bias=False)
        self.out = nn.Linear(d_model, d_model, bias=False)

    def project(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values `[B, H, M, d_head]` of the memory."""
        k, v = self.kv(memory).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return k, v

    def forward(self, x: Tensor, context: Context, cache: LayerCache | None) -> Tensor:
        """Every position of x `[B, S, d]` reads all visible positions of the memory."""
        if context.memory is None or context.memory_bias is None:
            raise ValueError("cross-attention needs a memory")
        if cache is not None and cache.memory_keys is not None and cache.memory_values is not None:
            k, v = cache.memory_keys, cache.memory_values
        else:
            k, v = self.project(context.memory)
        q = self.q(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        bias = context.memory_bias.to(q.dtype)
        return self.out(merge_heads(F.scaled_dot_product_attention(q, k, v, attn_mask=bias)))


class CrossBlock(Block):
    """Self-attention, cross-attention, MLP."""

    def __init__(self, d_model: int, heads: int, dropout: float) -> None:
        super().__init__(d_model, heads, dropout)
        self.cross_norm = nn.LayerNorm(d_model)
        self.cross = CrossAttention(d_model, heads)

    def attend(
        self, x: Tensor, positions: Positions, context: Context, cache: LayerCache | None = None, at: int = 0
    ) -> Tensor:
        x = super().attend(x, positions, context, cache, at)
        return x + self.dropout(self.cross(self.cross_norm(x), context, cache))

    def new_cache(self, context: Context, rows: int, capacity: int) -> LayerCache:
        cache = super().new_cache(context, rows, capacity)
        if context.memory is not None:
            k, v = self.cross.project(context.memory)
            cache.memory_keys, cache.memory_values = positions_last(k), v.contiguous()
        return cache
