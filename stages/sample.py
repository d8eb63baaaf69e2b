"""Generate for test captions and the fixed prompts: N candidates each, reranked by CLAP, all of them kept.

By a language model, or by a pipeline of diffusers; or take the audio that another system made for them.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, groupby
from pathlib import Path

import numpy as np

from musicgen_lite import codec, text
from musicgen_lite.clap import ClapScorer
from musicgen_lite.clap import load as load_clap
from musicgen_lite.codec import Codec
from musicgen_lite.compute import Engine, Recipe
from musicgen_lite.compute.keeping import Keeping
from musicgen_lite.errors import UserError
from musicgen_lite.generation import (
    Sampling,
    best_of,
    candidates,
    choose_beats,
    item_seed,
    takes_beat,
    with_beats,
)
from musicgen_lite.generation.candidates import Made
from musicgen_lite.generation.pipelines import Asked, Renderings
from musicgen_lite.io import audio
from musicgen_lite.io.arrays import ArrayStore
from musicgen_lite.io.beats import NO_BEAT, Beat
from musicgen_lite.io.clips import ClipStore
from musicgen_lite.io.files import atomic_dir, read_json
from musicgen_lite.io.progress import track
from musicgen_lite.io.samples import Kind, Sample, SampleWriter
from musicgen_lite.io.windows import ClipWindows, Windows
from musicgen_lite.io.work import resumable_dir
from musicgen_lite.models import LanguageModel, diffusers, external
from musicgen_lite.models.core.conditions import Conditions
from musicgen_lite.params import Params
from musicgen_lite.pretrained import state
from musicgen_lite.pretrained.shipped import check_parts
from musicgen_lite.rhythm import goes_on
from musicgen_lite.sources import rejected
from musicgen_lite.sources.splits import halves
from musicgen_lite.text import TextEncoder
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

MADE = "made"  # what is kept until all is there


@dataclass(frozen=True)
class Item:
    """One prompt to generate for."""

    prompt_id: str
    kind: Kind
    caption: str
    prompt: np.ndarray | None = None


Generate = Callable[[Engine, Sequence[Item], Sequence[int]], tuple[Iterator[Made], Sequence[float | None]]]
"""Candidates for items of one kind, item by item, from the seed of each; with the tempo that each was told, if any."""


def items(params: Params) -> Iterator[Item]:
    """Test captions (B: once more with their own audio prompt), or in their place the prompts of a file; then the fixed prompts."""
    yield from of_file() if params.sample.prompts_file else of_tests(params)
    for number, caption in enumerate(params.sample.fixed_prompts):
        yield Item(f"fixed-{number}", "fixed", caption)


def of_file() -> Iterator[Item]:
    """The prompts that `check` read from `sample.prompts_file`; UserError for the id of a clip, which scores would pair."""
    clips = ClipStore(CLIPS)
    for one in read_json(PROMPTS)["prompts"]:
        if one["id"] in clips:
            raise UserError(
                f"sample.prompts_file: id {one['id']!r} is that of a clip; give the prompt another one, or leave the parameter "
                "empty to generate for test captions"
            )
        yield Item(one["id"], "text", one["prompt"])


def of_tests(params: Params) -> Iterator[Item]:
    """Test captions; for model B once more with their own audio prompt."""
    _, prompted = halves(ClipStore(CLIPS), params.sample.prompts)
    rows = prompted.to_dict("records")
    for row in rows:
        yield Item(row["id"], "text", row["caption"])
    if params.model.type == "b":
        prompts = ArrayStore(TOKENS / "prompt")
        for row in rows:
            yield Item(row["id"], "prompt", row["caption"], prompts[row["id"]].T)


def embeddings(params: Params, encoder: TextEncoder, group: Sequence[Item]) -> list[np.ndarray]:
    """The caption of each item of one kind as text vectors `[L, D]`: those of test clips are there, others are made."""
    captions, fixed = [item.caption for item in group], group[0].kind == "fixed"
    if not fixed and not params.sample.prompts_file:
        cached = ArrayStore(TEXT)
        return [cached[item.prompt_id] for item in group]
    if fixed and (remark := encoder.coverage_warning(captions, "sample.fixed_prompts")):
        print(remark)
    return text.encode_stored(encoder, captions, params.text.max_tokens)


def conditions(group: Sequence[Item], texts: Sequence[np.ndarray], special: int) -> Conditions:
    """The conditions of items of one kind; `special` is the token id that pads the prompts of short clips."""
    prompts = [item.prompt for item in group if item.prompt is not None]
    return Conditions.from_arrays(texts, prompts, special)


def told(
    model: LanguageModel, given: Conditions, group: Sequence[Item], seeds: Sequence[int], params: Params
) -> list[Beat]:
    """The beat that the model is told for each candidate of the items; see `choose_beats`."""
    if not takes_beat(model):
        return []
    windows = ClipWindows(ClipStore(CLIPS), Windows(model.config.rate, params.data.prompt_seconds, params.data.seconds))
    heard = [NO_BEAT if item.prompt is None else goes_on(*windows.prompt(item.prompt_id)) for item in group]
    each = range(params.sample.candidates)
    captions = [item.caption for item in group for _ in each]
    return choose_beats(model, given, captions, seeds, heard=[beat for beat in heard for _ in each])


def take(params: Params, rate: int, clap: ClapScorer) -> None:
    """Take another system's audio in place of samples: one candidate for each prompt that it has; print what is left out."""
    noted, left_out = read_json(SYSTEM), list[dict[str, str]]()
    place = external.Place.of(noted["audio"], noted["prompts"], root())
    if place.digest() != noted["digest"]:
        raise UserError(f"{place.folder}: it has changed since `check` read it; run the same command again")

    def reject(name: str, reason: str) -> None:
        left_out.append({"id": name, "reason": reason})

    def seconds(prompt: str) -> float:
        return windows.target_length(prompt) / rate if prompt in captions else params.sample.seconds

    clips, cut = ClipStore(CLIPS), (params.data.prompt_seconds, params.data.seconds, params.sample.seconds)
    windows = ClipWindows(clips, Windows(rate, *cut))
    prompted = halves(clips, params.sample.prompts)[1]
    captions = dict(zip(prompted["id"], prompted["caption"], strict=True))
    pieces, taken = external.paired(place.pieces(reject), captions, reject), list[external.Taken]()
    with atomic_dir(SAMPLES) as part:
        writer = SampleWriter(part)
        for prompt, piece, one in external.takes(pieces, seconds, rate, reject):
            caption = captions.get(prompt, piece.caption)
            score = float(clap.similarity([caption], rate, [one.samples], [0])[0])
            writer.add(Sample(prompt, "text", 0, 0, score, True, caption), one.samples, rate)
            taken.append(replace(one, samples=one.samples[:0]))
        if len(taken) < 2:
            reasons = "; ".join(f"{one['id']}: {one['reason']}" for one in left_out[:3])
            raise UserError(f"{place.folder}: {len(taken)} of {len(pieces)} files can be used, 2 are needed: {reasons}")
        writer.close(left_out)
    whose = f"of {len(captions)} test prompts" if set(pieces) <= set(captions) else "prompts of its own"
    longer, silent = (sum(getattr(one, name) for one in taken) for name in ("longer", "silent"))
    print(f"{noted['name']}: audio for {len(taken)} {whose}; {longer} longer than what is scored, {silent} silent")
    for line in rejected.lines(left_out, f"{SAMPLES}/rejected.json"):
        print(line)


def by_language_model(
    params: Params, engine: Engine, coder: Recipe[Codec], ranker: Recipe[ClapScorer], device: str
) -> Generate:
    """Candidates by the model that the stage train wrote."""
    recipe = Recipe(candidates.load_model, MODEL.absolute(), device=engine.device)
    model, encodec, cfg = recipe.model, coder.model, params.sample
    encoder = text.load(resolve_model_path(params.text.name), device=device, trusted=params.trusted_pickles)
    check_parts(MODEL, model.config, encodec.fingerprint, encoder.fingerprint)
    sampling = Sampling(cfg.temperature, cfg.top_k, cfg.top_p, cfg.guidance, cfg.guidance_audio)
    frames, length = audio.num_frames(cfg.seconds, encodec.rate, encodec.frame_rate), round(cfg.seconds * encodec.rate)
    decoder = Recipe(candidates.load_decoder, recipe, cfg.weights, cfg.kv_cache, device=engine.device)
    work = candidates.Candidates(recipe, decoder, coder, ranker, sampling, frames, length)

    def generate(
        engine: Engine, group: Sequence[Item], seeds: Sequence[int]
    ) -> tuple[Iterator[Made], list[float | None]]:
        given = conditions(group, embeddings(params, encoder, group), model.config.codebook_size)
        given = given.repeat_interleave(cfg.candidates).to(model.head.device)
        beats = told(model, given, group, seeds, params)
        # A batch may take minutes: where it is made here, its steps are shown.
        label = f"sample {group[0].kind}"
        batches = list(candidates.rows(with_beats(given, beats), seeds, cfg.batch_size, label if engine.here else ""))
        made = engine.map(work, batches)
        shown = made if engine.here else track(made, label, len(batches), "batch")
        return chain.from_iterable(shown), [beat.bpm for beat in beats] or [None] * len(seeds)

    return generate


def by_pipeline(params: Params, engine: Engine, ranker: Recipe[ClapScorer], rate: int) -> Generate:
    """Candidates at `rate` Hz by the pipeline of diffusers that `check` has seen."""
    noted = read_json(SYSTEM)
    name = resolve_model_path(noted["name"])
    if state(name) != noted["state"]:
        raise UserError(f"{name}: it has changed since `check` read it; run the same command again")
    options = {key: noted[key] for key in ("steps", "guidance")}
    recipe = Recipe(diffusers.load, name, weights=params.sample.weights, device=engine.device, **options)
    work = Renderings(recipe, ranker, params.sample.seconds, rate)

    def generate(
        engine: Engine, group: Sequence[Item], seeds: Sequence[int]
    ) -> tuple[Iterator[Made], list[float | None]]:
        each = params.sample.candidates
        asked = [Asked(group[number // each].caption, seed) for number, seed in enumerate(seeds)]
        made = track(engine.map(work, asked), f"sample {group[0].kind}", len(asked), "candidate")
        return chain.from_iterable(made), [None] * len(asked)

    return generate


def write(params: Params, generate: Generate, engine: Engine, clap: ClapScorer, rate: int, work: Path) -> None:
    """Generate for each item, rank its candidates by CLAP, and keep them all; `work`: where a run that is stopped goes on."""
    each = range(params.sample.candidates)
    with resumable_dir(SAMPLES, work) as folder:
        writer = SampleWriter(folder)
        for kind, same_kind in groupby(items(params), key=lambda item: item.kind):
            group = list(same_kind)
            seeds = [item_seed(params.seed, item.prompt_id, number) for item in group for number in each]
            keeping = Keeping(engine, folder / MADE / kind, Made._make)
            made, bpms = generate(keeping, group, seeds)
            fit = partial(clap.cosines, [item.caption for item in group])
            ranking = best_of([one.embedded for one in made], len(each), fit)
            again = chain.from_iterable(keeping.kept())  # the waves of all would fill the memory
            for number, (one, seed) in enumerate(zip(again, seeds, strict=True)):
                owner, candidate = divmod(number, len(each))
                item = group[owner]
                score, picked = float(ranking.scores[owner, candidate]), int(ranking.picked[owner]) == candidate
                sample = Sample(item.prompt_id, kind, candidate, seed, score, picked, item.caption, bpms[number])
                writer.add(sample, one.wave, rate)
        writer.close()
        shutil.rmtree(folder / MADE)


def main(params: Params) -> None:
    device, engine = set_up_torch(params.compute), set_up_engine(params.compute)
    coder = Recipe(
        codec.load,
        resolve_model_path(params.codec.name),
        num_codebooks=params.codec.num_codebooks,
        device=engine.device,
        trusted=params.trusted_pickles,
    )
    rate = coder.model.rate
    ranker = Recipe(
        load_clap, resolve_model_path(params.score.clap), device=engine.device, trusted=params.trusted_pickles
    )
    if params.model.type == "external":
        take(params, rate, ranker.model)
        return
    if params.model.type == "diffusers":
        generate = by_pipeline(params, engine, ranker, rate)
    else:
        generate = by_language_model(params, engine, coder, ranker, device)
    work = work_dir("sample", params, coder.model.fingerprint, ranker.model.fingerprint, engine.device)
    write(params, generate, engine, ranker.model, rate, work)


if __name__ == "__main__":
    run(main)
