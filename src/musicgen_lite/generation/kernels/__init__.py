"""Numba kernels of a decoding step on a CPU: matrix products with few rows, attention of one new position, norms, draws.

A step is bound by reading the weights: each is read once, whatever the rows, and may be stored in half or a quarter of its
size: float32, bfloat16 (its bits in uint16) or int8 with a scale for each output. All arithmetic is float32. A row's result
has the same bits whatever the other rows are and however many threads divide the work, because every row goes through the
same instructions in the same order.
"""

from musicgen_lite.generation.kernels.layers import embed, run
from musicgen_lite.generation.kernels.outputs import draw, point
from musicgen_lite.generation.kernels.team import Team

__all__ = ["Team", "draw", "embed", "point", "run"]
