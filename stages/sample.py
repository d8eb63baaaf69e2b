"""Generate for test captions and the fixed prompts: N candidates each, reranked by CLAP, all of them kept."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby

import numpy as np

from musicgen_lite import codec, models, text
from musicgen_lite.clap import load as load_clap
from musicgen_lite.generation import (
    Sampling,
    best_of,
    choose_beats,
    generate,
    item_seed,
    prepare,
    takes_beat,
    with_beats,
)
from musicgen_lite.io import audio
from musicgen_lite.io.arrays import ArrayStore
from musicgen_lite.io.beats import NO_BEAT, Beat
from musicgen_lite.io.clips import ClipStore
from musicgen_lite.io.files import atomic_dir
from musicgen_lite.io.samples import Kind, Sample, SampleWriter
from musicgen_lite.io.windows import ClipWindows, Windows
from musicgen_lite.models import LanguageModel
from musicgen_lite.models.core.conditions import Conditions
from musicgen_lite.params import Params
from musicgen_lite.pretrained.shipped import check_parts
from musicgen_lite.rhythm import goes_on
from musicgen_lite.sources.splits import halves
from musicgen_lite.text import TextEncoder
from stages.runtime import CLIPS, MODEL, SAMPLES, TEXT, TOKENS, resolve_model_path, run, set_up_torch


@dataclass(frozen=True)
class Item:
    """One prompt to generate for."""

    prompt_id: str
    kind: Kind
    caption: str
    text: np.ndarray
    prompt: np.ndarray | None = None


def items(params: Params, encoder: TextEncoder) -> Iterator[Item]:
    """Test captions (B: once more with their own audio prompt), then the fixed prompts."""
    cached, prompts = ArrayStore(TEXT), ArrayStore(TOKENS / "prompt")
    _, prompted = halves(ClipStore(CLIPS), params.sample.prompts)
    rows = prompted.to_dict("records")
    for row in rows:
        yield Item(row["id"], "text", row["caption"], cached[row["id"]])
    if params.model.type == "b":
        for row in rows:
            yield Item(row["id"], "prompt", row["caption"], cached[row["id"]], prompts[row["id"]].T)
    fixed = list(params.sample.fixed_prompts)
    if remark := encoder.coverage_warning(fixed, "sample.fixed_prompts"):
        print(remark)
    for number, embedding in enumerate(text.encode_stored(encoder, fixed, params.text.max_tokens)):
        yield Item(f"fixed-{number}", "fixed", fixed[number], embedding)


def conditions(group: Sequence[Item], special: int) -> Conditions:
    """The conditions of items of one kind; `special` is the token id that pads the prompts of short clips."""
    prompts = [item.prompt for item in group if item.prompt is not None]
    return Conditions.from_arrays([item.text for item in group], prompts, special)


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


def main(params: Params) -> None:
    device = set_up_torch(params.compute)
    model, _ = models.load(MODEL, device)
    encodec = codec.load(
        resolve_model_path(params.codec.name),
        num_codebooks=params.codec.num_codebooks,
        device=device,
        trusted=params.trusted_pickles,
    )
    encoder = text.load(resolve_model_path(params.text.name), device=device, trusted=params.trusted_pickles)
    check_parts(MODEL, model.config, encodec.fingerprint, encoder.fingerprint)
    clap = load_clap(resolve_model_path(params.score.clap), device=device, trusted=params.trusted_pickles)
    cfg = params.sample
    sampling = Sampling(cfg.temperature, cfg.top_k, cfg.top_p, cfg.guidance, cfg.guidance_audio)
    frames, length = audio.num_frames(cfg.seconds, encodec.rate, encodec.frame_rate), round(cfg.seconds * encodec.rate)
    decoder = prepare(model, cfg.weights, cfg.kv_cache)
    with atomic_dir(SAMPLES) as part:
        writer = SampleWriter(part)
        for kind, same_kind in groupby(items(params, encoder), key=lambda item: item.kind):
            group = list(same_kind)
            seeds = [
                item_seed(params.seed, item.prompt_id, number) for item in group for number in range(cfg.candidates)
            ]
            given = conditions(group, model.config.codebook_size).repeat_interleave(cfg.candidates).to(device)
            beats = told(model, given, group, seeds, params)
            given = with_beats(given, beats)
            codes = generate(model, given, frames, sampling, seeds, cfg.batch_size, f"sample {kind}", decoder=decoder)
            decoded = (wave for chunk in codes.split(cfg.batch_size) for wave in encodec.decode(chunk).cpu().numpy())
            waves = [wave[:length] for wave in decoded]  # the last frame may reach beyond it
            fit = partial(clap.similarity, [item.caption for item in group], encodec.rate)
            ranking = best_of(waves, cfg.candidates, fit)
            for number, (wave, seed) in enumerate(zip(waves, seeds, strict=True)):
                owner, candidate = divmod(number, cfg.candidates)
                item = group[owner]
                bpm = beats[number].bpm if beats else None
                score, picked = float(ranking.scores[owner, candidate]), int(ranking.picked[owner]) == candidate
                sample = Sample(item.prompt_id, kind, candidate, seed, score, picked, item.caption, bpm)
                writer.add(sample, wave, encodec.rate)
        writer.close()


if __name__ == "__main__":
    run(main)
