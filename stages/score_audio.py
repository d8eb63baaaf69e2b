"""Scores of the generated audio: distances to the real half, fit to the captions, what reranking brings, signal faults."""

from collections.abc import Callable, Mapping

import numpy as np

from musicgen_lite import codec
from musicgen_lite.clap import load as load_clap
from musicgen_lite.io.clips import ClipStore
from musicgen_lite.io.files import write_json
from musicgen_lite.io.windows import ClipWindows, Windows
from musicgen_lite.params import Params
from musicgen_lite.scoring.audio import embeddings
from musicgen_lite.scoring.audio.embedders import all_embedders, origins
from musicgen_lite.scoring.audio.embeddings import Embedder
from musicgen_lite.scoring.audio.scores import FAR, IN_CLAP_ONLY, NEAR, Audio, Generated, Sets, score_generated
from musicgen_lite.scoring.statistics.intervals import BOOTSTRAP_SEED
from musicgen_lite.scoring.statistics.pairing import check_unique
from musicgen_lite.scoring.statistics.scores import Scores
from stages.runtime import (
    CLIPS,
    METRICS_AUDIO,
    REFERENCE,
    SAMPLES,
    SCORES_AUDIO,
    resolve_model_path,
    run,
    set_up_torch,
)

Reader = Callable[[str], tuple[np.ndarray, int]]


def generated(
    samples: ClipStore,
    kind: str,
    count: int,
    tracks: Mapping[str, str],
    heard: ClipWindows | None = None,
    prompts: Audio | None = None,
) -> Generated:
    """The samples of one kind, as the scores take them: no longer than the targets of their clips, which `heard` knows."""
    rows = samples.index[samples.index["x_kind"] == kind]
    picked = rows[rows["x_picked"]]
    check_unique(picked["track_id"].tolist(), f"picked samples of kind {kind}")

    def read(clip: str, candidate: int) -> tuple[np.ndarray, int]:
        wave, rate = samples.samples(f"{kind}-{clip}-{candidate}")
        return (wave[: heard.target_length(clip)] if heard and clip in short else wave), rate

    captions = dict(zip(picked["track_id"], picked["caption"], strict=True))
    short = heard.short(captions) if heard else set[str]()
    chosen = dict(zip(picked["track_id"], picked["x_candidate"], strict=True))
    return Generated(captions, tracks, chosen, count, read, prompts, short)


def stored_sets(spaces: list[Embedder], real: Reader) -> Sets:
    """The reference stage's sets; a set that another ruler made, or of other clips, is refused."""
    names = ["reference", *NEAR, *(name for name in FAR if (REFERENCE / name).exists())]
    sets = {name: {space.name: embeddings.load(REFERENCE, name, space) for space in spaces} for name in names}
    for name in ("reference", "real"):
        embeddings.check_clips(sets[name]["clap"], real, f"{REFERENCE / name}")
    return sets | {name: {"clap": embeddings.load(REFERENCE, name, spaces[0])} for name in IN_CLAP_ONLY}


def main(params: Params) -> None:
    device = set_up_torch(params.compute)
    decoder = codec.load(
        resolve_model_path(params.codec.name),
        num_codebooks=params.codec.num_codebooks,
        device=device,
        trusted=params.trusted_pickles,
    )
    clap = load_clap(resolve_model_path(params.score.clap), device=device, trusted=params.trusted_pickles)
    judge = None
    if params.score.judge:
        judge = load_clap(
            resolve_model_path(params.score.judge),
            device=device,
            trusted=params.trusted_pickles,
            parameter="score.judge",
        )
    spaces = all_embedders(decoder, clap)
    windows = Windows(decoder.rate, params.data.prompt_seconds, params.data.seconds, params.sample.seconds)
    clips = ClipStore(CLIPS)
    heard = ClipWindows(clips, windows)
    sets = stored_sets(spaces, heard.target)
    samples, count = ClipStore(SAMPLES), params.sample.candidates

    def score(made: Generated, suffix: str = "") -> Scores:
        draws = params.score.bootstrap
        return score_generated(made, sets, spaces, clap, judge, bootstrap=draws, seed=BOOTSTRAP_SEED, suffix=suffix)

    tracks = dict(zip(clips.index["id"], clips.index["track_id"], strict=True))
    by_text = generated(samples, "text", count, tracks, heard)
    scores = score(by_text)
    if params.model.type == "b":
        ids = sorted(by_text.captions)
        prompts = Audio(ids, heard.prompt, heard.short_prompts(ids))
        scores.update(score(generated(samples, "prompt", count, tracks, heard, prompts), "_prompted"))
    scores.notes |= origins(clap, judge)
    scores.write(SCORES_AUDIO)
    write_json(METRICS_AUDIO, scores.headline)


if __name__ == "__main__":
    run(main)
