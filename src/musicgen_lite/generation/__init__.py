"""From conditions to codes: sampling, the decoding loop, and the choice among candidates."""

from musicgen_lite.generation.decode import generate, prepare
from musicgen_lite.generation.long import generate_long
from musicgen_lite.generation.rerank import Ranking, best_of
from musicgen_lite.generation.sampling import Sampling, item_seed

__all__ = ["Ranking", "Sampling", "best_of", "generate", "generate_long", "item_seed", "prepare"]
