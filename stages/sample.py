"""Generate for test captions and the fixed prompts: N candidates each, reranked by CLAP, all of them kept.

By a language model, or by a pipeline of diffusers; or take the audio that another system made for them.
"""

from collections.abc import Iterator
from typing import Any

from musicgen_lite import codec, text
from musicgen_lite.clap import ClapScorer
from musicgen_lite.clap import load as load_clap
from musicgen_lite.codec import Codec
from musicgen_lite.compute import Engine, Recipe
from musicgen_lite.errors import UserError
from musicgen_lite.io.clips import ClipStore
from musicgen_lite.io.files import atomic_dir, read_json
from musicgen_lite.io.windows import ClipWindows, Windows
from musicgen_lite.io.work import resumable_dir
from musicgen_lite.models import diffusers, external
from musicgen_lite.params import Params
from musicgen_lite.pretrained import state
from musicgen_lite.pretrained.shipped import check_parts
from musicgen_lite.samples.candidates import load_model
from musicgen_lite.samples.prompts import Item, items
from musicgen_lite.samples.systems import Generate, by_language_model, by_pipeline
from musicgen_lite.samples.taken import take
from musicgen_lite.samples.write import write
from musicgen_lite.sources import rejected
from musicgen_lite.sources.splits import halves
from stages.runtime import (
    CLIPS,
    MODEL,
    PROMPTS,
    SAMPLES,
    SYSTEM,
    TEXT,
    TOKENS,
    resolve_model_path,
    root,
    run,
    set_up_engine,
    set_up_torch,
    work_dir,
)


def main(params: Params) -> None:
    device, engine = set_up_torch(params.compute), set_up_engine(params.compute)
    common: dict[str, Any] = {"device": engine.device, "trusted": params.trusted_pickles}
    coder = Recipe(
        codec.load, resolve_model_path(params.codec.name), num_codebooks=params.codec.num_codebooks, **common
    )
    ranker = Recipe(load_clap, resolve_model_path(params.score.clap), **common)
    rate = coder.model.rate
    if params.model.type == "external":
        other_system(params, rate, ranker.model)
        return
    if params.model.type == "diffusers":
        generate = pipeline(params, engine, ranker, rate)
    else:
        generate = language_model(params, engine, device, coder, ranker)
    work = work_dir("sample", params, coder.model.fingerprint, ranker.model.fingerprint, engine.device)
    with resumable_dir(SAMPLES, work) as folder:
        write(folder, prompts(params), generate, engine, ranker.model, rate, params.sample.candidates, params.seed)


def prompts(params: Params) -> Iterator[Item]:
    """What to generate for."""
    return items(params, ClipStore(CLIPS), TOKENS, PROMPTS)


def language_model(
    params: Params, engine: Engine, device: str, coder: Recipe[Codec], ranker: Recipe[ClapScorer]
) -> Generate:
    """The model that the stage train wrote."""
    model = Recipe(load_model, MODEL.absolute(), device=engine.device)
    encoder = text.load(resolve_model_path(params.text.name), device=device, trusted=params.trusted_pickles)
    check_parts(MODEL, model.model.config, coder.model.fingerprint, encoder.fingerprint)
    return by_language_model(params, model, encoder, coder, ranker, ClipStore(CLIPS), TEXT, engine.device)


def pipeline(params: Params, engine: Engine, ranker: Recipe[ClapScorer], rate: int) -> Generate:
    """The pipeline of diffusers that `check` has seen."""
    noted = read_json(SYSTEM)
    name = resolve_model_path(noted["name"])
    if state(name) != noted["state"]:
        raise UserError(f"{name}: it has changed since `check` read it; run the same command again")
    options = {key: noted[key] for key in ("steps", "guidance")}
    loaded = Recipe(diffusers.load, name, weights=params.sample.weights, device=engine.device, **options)
    return by_pipeline(params, loaded, ranker, rate)


def other_system(params: Params, rate: int, clap: ClapScorer) -> None:
    """Take the audio of the system that `check` has seen, and print what is left out."""
    noted, clips = read_json(SYSTEM), ClipStore(CLIPS)
    place = external.Place.of(noted["audio"], noted["prompts"], root())
    if place.digest() != noted["digest"]:
        raise UserError(f"{place.folder}: it has changed since `check` read it; run the same command again")
    windows = ClipWindows(clips, Windows(rate, params.data.prompt_seconds, params.data.seconds, params.sample.seconds))
    prompted = halves(clips, params.sample.prompts)[1]
    captions = dict(zip(prompted["id"], prompted["caption"], strict=True))
    with atomic_dir(SAMPLES) as folder:
        taken, left_out = take(folder, place, captions, windows, params.sample.seconds, rate, clap)
    print(f"{noted['name']}: {taken}")
    for line in rejected.lines(left_out, f"{SAMPLES}/rejected.json"):
        print(line)


if __name__ == "__main__":
    run(main)
