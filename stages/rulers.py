"""The spaces in which audio is compared: the CLAP that picks, the judge that never does, codec latents, mel statistics."""

from musicgen_lite.codec.base import Codec
from musicgen_lite.params import Params
from musicgen_lite.scoring.clap_model import ClapScorer, load_clap
from musicgen_lite.scoring.embedders import ClapEmbedder, CodecLatentEmbedder, MelEmbedder
from musicgen_lite.scoring.embeddings import Embedder


def load_judge(params: Params) -> ClapScorer | None:
    """The CLAP that never picks; None where none is named."""
    return load_clap(params.score.judge, params.trusted_pickles) if params.score.judge else None


def embedders(codec: Codec, scorer: ClapScorer) -> list[Embedder]:
    """Every space in which sets are compared."""
    return [ClapEmbedder(scorer), CodecLatentEmbedder(codec), MelEmbedder()]
