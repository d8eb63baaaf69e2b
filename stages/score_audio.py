"""Score the generated audio: distances to the reference, fit to the captions, best-of-N gain, signal faults."""

from dataclasses import replace
from pathlib import Path

from musicgen_lite.compute import Engine
from musicgen_lite.io.clips import ClipStore
from musicgen_lite.io.files import write_json
from musicgen_lite.io.samples import Kind, SampleStore
from musicgen_lite.io.windows import ClipWindows, Windows
from musicgen_lite.params import Params
from musicgen_lite.scoring.audio.embedders import origins
from musicgen_lite.scoring.audio.scores import score_generated
from musicgen_lite.scoring.audio.sets import generated_set, load_reference
from musicgen_lite.scoring.audio.spread import named
from musicgen_lite.scoring.statistics.intervals import Bootstrap
from musicgen_lite.scoring.statistics.scores import Scores
from stages.runtime import (
    CLIPS,
    METRICS_AUDIO,
    REFERENCE,
    SAMPLES,
    SCORES_AUDIO,
    held_work,
    resolve_model_path,
    run,
)


def main(params: Params) -> None:
    with held_work("score_audio", params) as (engine, work):
        score(params, engine, work)


def score(params: Params, engine: Engine, work: Path) -> None:
    """Embed and score; `work`: where a run that is stopped goes on."""
    codec = params.codec.name, params.codec.num_codebooks
    embedders = named(engine, *codec, params.score, params.trusted_pickles, resolve_model_path, judged=True, keep=work)
    bootstrap = Bootstrap(params.score.bootstrap)
    clips, samples = ClipStore(CLIPS), SampleStore(SAMPLES)
    external = params.model.type == "external"
    windows = ClipWindows(
        clips, Windows(embedders.codec.rate, params.data.prompt_seconds, params.data.seconds, params.sample.seconds)
    )
    sets = load_reference(REFERENCE, embedders, windows.target)
    tracks = dict(zip(clips.index["id"], clips.index["track_id"], strict=True))
    own = external or bool(params.sample.prompts_file)  # prompts that are no test captions
    kinds: list[Kind] = ["text", "prompt"] if params.model.type == "b" and not own else ["text"]
    scores = Scores()
    for kind in kinds:
        count = 1 if external else params.sample.candidates
        generated = replace(generated_set(samples, kind, count, tracks, windows), external=own)
        scores.update(score_generated(generated, sets, embedders, bootstrap))
    scores.notes |= origins(embedders.clap, embedders.judge, embedders.vggish)
    if external and samples.rejected:
        first = samples.rejected[0]
        scores.notes["rejected"] = (
            f"{len(samples.rejected)} prompts or files left out, such as {first['id']}: {first['reason']}"
        )
    scores.write(SCORES_AUDIO)
    write_json(METRICS_AUDIO, scores.headline)


if __name__ == "__main__":
    run(main)
