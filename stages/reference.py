"""Embed and score the reference sets: real clips, the same through the codec, of few genres, noise and training clips."""

import sys
from pathlib import Path

import pandas as pd

from musicgen_lite.compute import Engine
from musicgen_lite.io.clips import ClipStore
from musicgen_lite.io.files import write_text
from musicgen_lite.io.windows import ClipWindows, Windows
from musicgen_lite.params import Params
from musicgen_lite.scoring.audio.embedders import origins
from musicgen_lite.scoring.audio.scores import score_reference
from musicgen_lite.scoring.audio.sets import (
    ReferenceClips,
    as_noise,
    audio_prompts,
    embed_reference,
    reconstructed,
    stand_ins,
    targets,
)  # fmt: skip
from musicgen_lite.scoring.audio.spread import named
from musicgen_lite.scoring.audio.token_consistency import token_consistency
from musicgen_lite.scoring.statistics.intervals import Bootstrap
from musicgen_lite.sources.splits import EVALUATION_SEED, GENRE, few_genres, few_tracks, halves, some_training_clips
from stages.runtime import (
    CLIPS,
    REFERENCE,
    SCORES_REFERENCE,
    held_work,
    resolve_model_path,
    run,
)


def main(params: Params) -> None:
    with held_work("reference", params) as (engine, work):
        reference(params, engine, work)


def reference(params: Params, engine: Engine, work: Path) -> None:
    """Embed and score; `work`: where a run that is stopped goes on."""
    codec = params.codec.name, params.codec.num_codebooks
    embedders = named(engine, *codec, params.score, params.trusted_pickles, resolve_model_path, keep=work)
    coder = embedders.codec
    clips = ClipStore(CLIPS)
    windows = ClipWindows(
        clips, Windows(coder.rate, params.data.prompt_seconds, params.data.seconds, params.sample.seconds)
    )
    reference, prompted = halves(clips, params.sample.prompts)
    if doubt := few_tracks(reference, prompted):
        print(f"warning: {doubt}", file=sys.stderr)
    ids = prompted["id"].tolist()
    others, why_not = few_genres(clips, ids)
    real = targets(windows, ids)
    captions, tracks = (dict(zip(ids, prompted[name], strict=True)) for name in ("caption", "track_id"))
    training = some_training_clips(clips, params.score.training_clips)
    sets_of_clips = ReferenceClips(
        captions=captions,
        tracks=tracks,
        reference=targets(windows, reference["id"].tolist()),
        real=real,
        reconstruction=reconstructed(real, coder, work),
        noise=as_noise(real, EVALUATION_SEED),
        prompts=audio_prompts(windows, ids),
        few_genres=stand_ins(windows, others) if others else None,
        training=targets(windows, training),
    )
    sets, bootstrap = embed_reference(sets_of_clips, embedders), Bootstrap(params.score.bootstrap)
    scores = score_reference(sets_of_clips, sets, embedders.clap, bootstrap, embedders.clip_models)
    scores.update(token_consistency(real, sets_of_clips.reconstruction, coder, bootstrap))
    genres = clips.index.set_index("id")[GENRE] if others else {}
    scores.notes["few_genres"] = sorted({genres[i] for i in others.values()}) or f"withheld: {why_not}"
    scores.notes |= origins(embedders.clap, None, embedders.vggish) | ({"tracks": doubt} if doubt else {})
    scores.notes["training_clips"] = {"searched": len(training), "of": len(clips.split("train"))}
    sets.save(REFERENCE)
    # For those who make audio for these prompts elsewhere, by the columns that `generate --prompts` takes.
    seconds = [windows.target_length(clip) / coder.rate for clip in ids]
    prompts = pd.DataFrame({"id": ids, "prompt": prompted["caption"].to_list(), "seconds": seconds})
    write_text(REFERENCE / "prompts.csv", prompts.to_csv(index=False))
    scores.write(SCORES_REFERENCE)


if __name__ == "__main__":
    run(main)
