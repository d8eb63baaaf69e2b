"""What makes candidates for prompts: a language model, or a pipeline of diffusers."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from musicgen_lite import text
from musicgen_lite.clap import ClapScorer
from musicgen_lite.codec import Codec
from musicgen_lite.compute import Engine, Recipe
from musicgen_lite.generation import Sampling, choose_beats, takes_beat, with_beats
from musicgen_lite.io import audio
from musicgen_lite.io.arrays import ArrayStore
from musicgen_lite.io.beats import NO_BEAT, Beat
from musicgen_lite.io.clips import ClipStore
from musicgen_lite.io.progress import track
from musicgen_lite.io.windows import ClipWindows, Windows
from musicgen_lite.models import LanguageModel
from musicgen_lite.models.core.conditions import Conditions
from musicgen_lite.models.diffusers import TextToAudio
from musicgen_lite.params import Params
from musicgen_lite.rhythm import goes_on
from musicgen_lite.samples import candidates
from musicgen_lite.samples.candidates import Made
from musicgen_lite.samples.pipelines import Asked, Renderings
from musicgen_lite.samples.prompts import Item
from musicgen_lite.text import TextEncoder

Generate = Callable[[Engine, Sequence[Item], Sequence[int]], tuple[Iterator[Made], Sequence[float | None]]]
"""Candidates for items of one kind, item by item, from the seed of each; with the tempo that each was told, if any."""


def embeddings(params: Params, encoder: TextEncoder, group: Sequence[Item], texts: Path) -> list[np.ndarray]:
    """The caption of each item of one kind as text vectors `[L, D]`: those of test clips are in the folder `texts`, others are made."""
    captions, fixed = [item.caption for item in group], group[0].kind == "fixed"
    if not fixed and not params.sample.prompts_file:
        cached = ArrayStore(texts)
        return [cached[item.prompt_id] for item in group]
    if fixed and (remark := encoder.coverage_warning(captions, "sample.fixed_prompts")):
        print(remark)
    return text.encode_stored(encoder, captions, params.text.max_tokens)


def conditions(group: Sequence[Item], texts: Sequence[np.ndarray], special: int) -> Conditions:
    """The conditions of items of one kind; `special` is the token id that pads the prompts of short clips."""
    prompts = [item.prompt for item in group if item.prompt is not None]
    return Conditions.from_arrays(texts, prompts, special)


def told(
    model: LanguageModel,
    given: Conditions,
    group: Sequence[Item],
    seeds: Sequence[int],
    params: Params,
    clips: ClipStore,
) -> list[Beat]:
    """The beat that the model is told for each candidate of the items; see `choose_beats`."""
    if not takes_beat(model):
        return []
    windows = ClipWindows(clips, Windows(model.config.rate, params.data.prompt_seconds, params.data.seconds))
    heard = [NO_BEAT if item.prompt is None else goes_on(*windows.prompt(item.prompt_id)) for item in group]
    each = range(params.sample.candidates)
    captions = [item.caption for item in group for _ in each]
    return choose_beats(model, given, captions, seeds, heard=[beat for beat in heard for _ in each])


def by_language_model(
    params: Params,
    model: Recipe[LanguageModel],
    encoder: TextEncoder,
    coder: Recipe[Codec],
    ranker: Recipe[ClapScorer],
    clips: ClipStore,
    texts: Path,
    device: str,
) -> Generate:
    """Candidates by a language model that computes on `device`; texts: see `embeddings`."""
    encodec, cfg = coder.model, params.sample
    sampling = Sampling(cfg.temperature, cfg.top_k, cfg.top_p, cfg.guidance, cfg.guidance_audio)
    frames, length = audio.num_frames(cfg.seconds, encodec.rate, encodec.frame_rate), round(cfg.seconds * encodec.rate)
    decoder = Recipe(candidates.load_decoder, model, cfg.weights, cfg.kv_cache, device=device)
    work = candidates.Candidates(model, decoder, coder, ranker, sampling, frames, length)

    def generate(
        engine: Engine, group: Sequence[Item], seeds: Sequence[int]
    ) -> tuple[Iterator[Made], list[float | None]]:
        loaded = model.model
        given = conditions(group, embeddings(params, encoder, group, texts), loaded.config.codebook_size)
        given = given.repeat_interleave(cfg.candidates).to(loaded.head.device)
        beats = told(loaded, given, group, seeds, params, clips)
        # A batch may take minutes: where it is made here, its steps are shown.
        label = f"sample {group[0].kind}"
        batches = list(candidates.rows(with_beats(given, beats), seeds, cfg.batch_size, label if engine.here else ""))
        made = engine.map(work, batches)
        shown = made if engine.here else track(made, label, len(batches), "batch")
        return chain.from_iterable(shown), [beat.bpm for beat in beats] or [None] * len(seeds)

    return generate


def by_pipeline(params: Params, pipeline: Recipe[TextToAudio], ranker: Recipe[ClapScorer], rate: int) -> Generate:
    """Candidates at `rate` Hz by a pipeline of diffusers."""
    work = Renderings(pipeline, ranker, params.sample.seconds, rate)

    def generate(
        engine: Engine, group: Sequence[Item], seeds: Sequence[int]
    ) -> tuple[Iterator[Made], list[float | None]]:
        each = params.sample.candidates
        asked = [Asked(group[number // each].caption, seed) for number, seed in enumerate(seeds)]
        made = track(engine.map(work, asked), f"sample {group[0].kind}", len(asked), "candidate")
        return chain.from_iterable(made), [None] * len(asked)

    return generate
