"""Scores of the generated audio: distances to the real half, fit to the captions, what reranking brings, signal faults."""

import numpy as np

from musicgen_lite import codec
from musicgen_lite.params import Params
from musicgen_lite.scoring import embeddings
from musicgen_lite.scoring.audio_scores import Audio, Generated, Sets, score_generated
from musicgen_lite.scoring.clap_model import load_clap
from musicgen_lite.scoring.embeddings import Embedder
from musicgen_lite.scoring.summary import Scores
from musicgen_lite.sources.clips import ClipStore
from musicgen_lite.store import write_json
from stages.common import CLIPS, METRICS_AUDIO, REFERENCE, SAMPLES, SCORES_AUDIO, run, set_up_torch, write_scores
from stages.corpus import window
from stages.rulers import embedders, load_judge


def generated(samples: ClipStore, kind: str, count: int, prompts: Audio | None = None) -> Generated:
    """The samples of one kind, as the scores take them."""
    rows = samples.index[samples.index["x_kind"] == kind]
    picked = rows[rows["x_picked"]]

    def read(clip: str, candidate: int) -> tuple[np.ndarray, int]:
        return samples.samples(f"{kind}-{clip}-{candidate}")

    captions = dict(zip(picked["track_id"], picked["caption"], strict=True))
    return Generated(captions, dict(zip(picked["track_id"], picked["x_candidate"], strict=True)), count, read, prompts)


def stored_sets(spaces: list[Embedder]) -> Sets:
    """The reference stage's sets; a set that another ruler made is refused."""
    names = ("reference", "real", "reconstruction", "noise")
    return {name: {space.name: embeddings.load(REFERENCE, name, space) for space in spaces} for name in names}


def main(params: Params) -> None:
    device = set_up_torch(params.compute)
    decoder = codec.load(params.codec.name, params.codec.num_codebooks, device=device)
    clap, judge = load_clap(params.score.clap), load_judge(params.score)
    spaces = embedders(decoder, clap)
    sets, samples = stored_sets(spaces), ClipStore(SAMPLES)
    draws, seed, count = params.score.bootstrap, params.seed, params.sample.candidates
    by_text = generated(samples, "text", count)
    scores: Scores = score_generated(by_text, sets, spaces, clap, judge, bootstrap=draws, seed=seed)
    if params.model.type == "b":
        read = window(ClipStore(CLIPS), decoder.rate, 0.0, params.data.prompt_seconds)
        prompts = Audio(sorted(by_text.captions), read)
        prompted = generated(samples, "prompt", count, prompts)
        scores.update(
            score_generated(prompted, sets, spaces, clap, judge, bootstrap=draws, seed=seed, suffix="_prompted")
        )
    write_scores(SCORES_AUDIO, scores)
    write_json(METRICS_AUDIO, scores.metrics)


if __name__ == "__main__":
    run(main)
