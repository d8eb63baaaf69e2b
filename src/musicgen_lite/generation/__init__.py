"""From conditions to codes: sampling, the decoding loop, and the choice among candidates."""

from musicgen_lite.generation.decode import generate, prepare
from musicgen_lite.generation.long import generate_long
from musicgen_lite.generation.rerank import Ranking, best_of
from musicgen_lite.generation.sampling import Sampling, item_seed
from musicgen_lite.generation.tempo import check_tempo, choose_beats, takes_beat, with_beats

__all__ = [
    "Ranking", "Sampling", "best_of", "check_tempo", "choose_beats", "generate", "generate_long", "item_seed", "prepare",
    "takes_beat", "with_beats",
]  # fmt: skip
