"""The spaces in which audio is compared: the CLAP that picks, the judge that never does, codec latents, mel statistics."""

from typing import Any

from musicgen_lite.codec.base import Codec
from musicgen_lite.params import Params
from musicgen_lite.scoring.clap_model import load_clap
from musicgen_lite.scoring.clap_scorer import ClapScorer
from musicgen_lite.scoring.embedders import ClapEmbedder, CodecLatentEmbedder, MelEmbedder
from musicgen_lite.scoring.embeddings import Embedder
from stages.common import placed


def load_judge(params: Params, device: str) -> ClapScorer | None:
    """The CLAP that never picks; None where none is named."""
    if not params.score.judge:
        return None
    return load_clap(placed(params.score.judge), params.trusted_pickles, device, "score.judge")


def origins(clap: ClapScorer, judge: ClapScorer | None = None) -> dict[str, Any]:
    """A note of which models the figures of CLAP and judge are by: a figure is comparable within one checkpoint only."""
    models = {"clap": clap} | ({} if judge is None else {"judge": judge})
    return {f"{name}_origin": {**model.origin, "fingerprint": model.fingerprint} for name, model in models.items()}


def embedders(codec: Codec, scorer: ClapScorer) -> list[Embedder]:
    """Every space in which sets are compared."""
    return [ClapEmbedder(scorer), CodecLatentEmbedder(codec), MelEmbedder()]
