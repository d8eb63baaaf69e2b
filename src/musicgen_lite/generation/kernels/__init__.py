"""Numba kernels of a decoding step on a CPU: matrix products with few rows, attention of one new position, norms, draws.

A step is bound by reading the weights: each is read once, whatever the rows, and may be stored in half or a quarter of its
size: float32, bfloat16 (its bits in uint16) or int8 with a scale for each output; keys and values as float32 or bfloat16.
All arithmetic is float32, or for bfloat16 weights on a processor with AMX its products of bfloat16. A row's result
has the same bits whatever the other rows are and however many threads divide the work, because every row goes through the
same instructions in the same order.
"""

from musicgen_lite.generation.kernels import amx
from musicgen_lite.generation.kernels.compiled import instruction_set
from musicgen_lite.generation.kernels.early import compile_early
from musicgen_lite.generation.kernels.layers import embed, room, run
from musicgen_lite.generation.kernels.outputs import draw, point
from musicgen_lite.generation.kernels.team import Team, team_size

__all__ = ["Team", "amx", "compile_early", "draw", "embed", "instruction_set", "point", "room", "run", "team_size"]
