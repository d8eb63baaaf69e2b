"""Numba kernels of a decoding step on a CPU: matrix products with few rows, attention of one new position, norms, draws.

A step is bound by reading the weights: each is read once, whatever the rows, and may be stored in half or a quarter of its
size: float32, bfloat16 (its bits in uint16) or int8 with a scale for each output. All arithmetic is float32. A row's result
has the same bits whatever the other rows are, because every row goes through the same instructions in the same order.
"""

from musicgen_lite.generation.kernels.layers import cross_attention, embed, layer_norm, matmul, mlp, self_attention
from musicgen_lite.generation.kernels.outputs import draw, point

__all__ = ["cross_attention", "draw", "embed", "layer_norm", "matmul", "mlp", "point", "self_attention"]
