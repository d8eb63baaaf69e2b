"""Negative log-likelihood of held-out tokens: how well a model predicts music that it has not seen.

NLL is in nats per token: the sum over all (frame, codebook) cells of all clips over their number, never a mean of means.
Every pattern, variant and baseline is scored on the same cells. Guidance and dropout are off. A clip longer than the
model's window is scored in windows that do not overlap and together hold every cell once.

A model with a beat condition is told each clip's beat, as far as it is known, under every variant but `without_beat`. These are
two numbers a clip; `beat_gain` is what they are worth to the model.
"""

import hashlib
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
import torch

from musicgen_lite.errors import UserError
from musicgen_lite.io.arrays import ArrayStore
from musicgen_lite.io.beats import NO_BEAT, Beat, Beats
from musicgen_lite.io.progress import track
from musicgen_lite.models.core.base import LanguageModel
from musicgen_lite.models.core.conditions import Conditions
from musicgen_lite.scoring.likelihood import frames as by_frame
from musicgen_lite.scoring.likelihood.baselines import NAMES, Baselines
from musicgen_lite.scoring.likelihood.copying import MIN_LAG
from musicgen_lite.scoring.metrics import codebook_estimate, columns
from musicgen_lite.scoring.statistics import intervals
from musicgen_lite.scoring.statistics.intervals import Bootstrap, Estimate
from musicgen_lite.scoring.statistics.pairing import check_unique, strangers, withheld
from musicgen_lite.scoring.statistics.scores import Scores


@dataclass(frozen=True)
class Example:
    """A held-out clip: codes `[N_q, T]`, its caption's embedding `[L, D_t]`, its audio prompt's codes `[N_q, P]`, its beat.

    caption: equal for equal captions; track: equal for clips of one track.
    """

    id: str
    caption: str
    track: str
    codes: np.ndarray
    text: np.ndarray
    prompt: np.ndarray | None = None
    beat: Beat = NO_BEAT

    @property
    def has_beat(self) -> bool:
        return math.isfinite(self.beat[0])


@dataclass(frozen=True)
class Variant:
    """The conditions of the model: its own caption or prompt, another caption or that of another track, or none; its beat."""

    name: str
    text: str
    prompt: str = "none"
    beat: bool = True


TEXT_VARIANTS = (
    Variant("caption", "own"),
    Variant("shuffled", "other"),
    Variant("none", "none"),
)
PROMPT_VARIANTS = (
    Variant("caption+prompt", "own", "own"),
    Variant("caption+shuffled_prompt", "own", "other"),
    Variant("prompt", "none", "own"),
    Variant("shuffled_prompt", "none", "other"),
)
BEAT_VARIANTS = (Variant("without_beat", "own", beat=False),)
# Estimate: (worse variant, better variant), positive where the model makes use of the condition.
GAINS = {
    "caption_gain": ("shuffled", "caption"),
    "text_gain": ("none", "caption"),
    "beat_gain": ("without_beat", "caption"),
    "prompt_gain": ("caption+shuffled_prompt", "caption+prompt"),
    "prompt_over_none": ("caption", "caption+prompt"),
    "prompt_gain_without_text": ("shuffled_prompt", "prompt"),
}


@dataclass(frozen=True)
class ClipNll:
    """Sums in nats over the frames of each range, of each clip under each variant.

    frames: `[n]`; edges of the R ranges: `[R + 1]`; `by_range[name]`: float64 `[n, N_q, R]`.
    """

    ids: tuple[str, ...]
    frames: np.ndarray
    edges: np.ndarray
    by_range: dict[str, np.ndarray]

    @cached_property
    def sums(self) -> dict[str, np.ndarray]:
        """Sums over all frames: `sums[name]` is `[n, N_q]`."""
        return {name: values.sum(axis=2) for name, values in self.by_range.items()}

    @property
    def cells(self) -> np.ndarray:
        """Number of cells of each clip, all codebooks together: `[n]`."""
        return self.frames * next(iter(self.sums.values())).shape[1]

    def table(self) -> pd.DataFrame:
        """One row per clip: nats per token under each variant."""
        values = {name: sums.sum(axis=1) / self.cells for name, sums in self.sums.items()}
        return pd.DataFrame({"id": self.ids, "frames": self.frames, **values})


def read_examples(split: str, tokens: ArrayStore, text: ArrayStore, prompts: ArrayStore | None = None) -> list[Example]:
    """The clips of one split, in stored order, as views into the stores; UserError where a store lacks one."""
    rows, beats = tokens.index[tokens.index["split"] == split], Beats(tokens)
    return [
        Example(
            i, text.index["digest"].iloc[text.row(i)], str(track), tokens[i].T, text[i],
            None if prompts is None else prompts[i].T, beats[i],
        )
        for i, track in zip(rows["key"].tolist(), rows["track_id"].tolist(), strict=True)
    ]  # fmt: skip


def digest(examples: Sequence[Example]) -> str:
    """16 hex digits over ids and codes, in any order: two NLLs compare where these agree."""
    one = hashlib.sha256()
    for example in sorted(examples, key=lambda example: example.id):
        one.update(f"{example.id}\0{example.codes.shape}\0".encode())
        one.update(np.ascontiguousarray(example.codes, dtype=np.int64).tobytes())
    return one.hexdigest()[:16]


def evaluate(
    model: LanguageModel, examples: Sequence[Example], variants: Sequence[Variant], batch_size: int, seed: int
) -> ClipNll:
    """Score every example under every variant; variants that need another caption or track are left out where there is none.

    Others are drawn by seed among the sorted ids. The results depend on neither `batch_size` nor the order of the
    examples, beyond float32 rounding. Raises UserError for duplicate ids, fewer than two clips, a clip without a prompt, or an
    NLL that is not finite.
    """
    ids = [example.id for example in examples]
    check_unique(ids, "held-out codes")
    own = np.arange(len(ids))
    texts = {"own": own, "none": own, "other": _others(ids, [example.caption for example in examples], seed)}
    prompts = {"own": own, "none": own, "other": _others(ids, [example.track for example in examples], seed)}
    if any(variant.prompt != "none" for variant in variants):
        _check_prompts(examples)
    frames = [example.codes.shape[1] for example in examples]
    edges = by_frame.edges(max(frames))
    batches = _batches(windows(frames, model.config.max_frames), batch_size)
    was_training = model.training
    model.eval()
    try:
        found = {}
        for variant in variants:
            text_of, prompt_of = texts[variant.text], prompts[variant.prompt]
            if text_of is None or prompt_of is None:
                continue
            values = np.zeros((len(ids), examples[0].codes.shape[0], len(edges) - 1))
            for parts in track(batches, f"NLL, {variant.name}", unit="batch"):
                cells = _batch_nll(model, examples, parts, variant, text_of, prompt_of)
                for part, own in zip(parts, cells, strict=True):
                    values[part.row] += by_frame.by_range(own, part.start, edges)
            found[variant.name] = values
    finally:
        model.train(was_training)
    for name, values in found.items():
        if not np.isfinite(values).all():
            bad = ids[int(np.argmin(np.isfinite(values).all(axis=(1, 2))))]
            raise UserError(
                f"clip {bad}: its NLL is not finite ({name}); the model's weights may hold NaN: train again"
            )
    return ClipNll(tuple(ids), np.array(frames), edges, found)


def _check_prompts(examples: Sequence[Example]) -> None:
    missing = [example.id for example in examples if example.prompt is None or not example.prompt.size]
    if missing:
        raise UserError(f"clip {missing[0]}: it has no audio prompt, as {len(missing)} in all; run `dvc repro`")


def _others(ids: Sequence[str], groups: Sequence[str], seed: int) -> np.ndarray | None:
    """For each row a row of another group, drawn by sorted id; None where there is only one group."""
    by_id = np.array(sorted(range(len(ids)), key=lambda row: ids[row]))
    drawn = strangers([groups[row] for row in by_id], seed)
    if drawn is None:
        return None
    rows = np.empty_like(by_id)
    rows[by_id] = by_id[drawn]
    return rows


@dataclass(frozen=True)
class Window:
    """The frames `start` to `stop` of one clip, whose index among the examples is `row`."""

    row: int
    start: int
    stop: int


def windows(frames: Sequence[int], longest: int) -> list[Window]:
    """The fewest windows that cover each clip, side by side, of at most `longest` frames; their lengths differ by at most one."""
    found = []
    for row, length in enumerate(frames):
        count = -(-length // longest)
        edges = [length * number // count for number in range(count + 1)]
        found += [Window(row, start, stop) for start, stop in itertools.pairwise(edges)]
    return found


def _batches(parts: Sequence[Window], size: int) -> list[list[Window]]:
    """Windows of equal length, at most `size` together.

    No window is padded: in the delay pattern the last cells of one codebook come after the first padding of another.
    """
    by_length: dict[int, list[Window]] = {}
    for part in parts:
        by_length.setdefault(part.stop - part.start, []).append(part)
    return [alike[start : start + size] for alike in by_length.values() for start in range(0, len(alike), size)]


@torch.inference_mode()
def _batch_nll(
    model: LanguageModel,
    examples: Sequence[Example],
    parts: Sequence[Window],
    variant: Variant,
    text_of: np.ndarray,
    prompt_of: np.ndarray,
) -> np.ndarray:
    """Nats per cell `[b, N_q, T]` of windows of one length, each with the text and the prompt of the example at these positions."""
    device = next(model.parameters()).device
    cut = [examples[part.row].codes[:, part.start : part.stop] for part in parts]
    codes = torch.from_numpy(np.stack(cut).astype(np.int64)).to(device)
    prompts = [] if variant.prompt == "none" else [examples[prompt_of[part.row]].prompt for part in parts]
    conditions = Conditions.from_arrays(
        [examples[text_of[part.row]].text for part in parts],
        [prompt for prompt in prompts if prompt is not None],
        model.config.codebook_size,
        _beats(examples, parts, model) if variant.beat else [],
    )
    if variant.text == "none":
        conditions = conditions.without_text()
    return model.nll(codes, conditions.to(device)).double().cpu().numpy()


def _beats(examples: Sequence[Example], parts: Sequence[Window], model: LanguageModel) -> list[Beat]:
    """The beats of the clips as the windows have them, whose first frames are others; none where none is known."""
    if not any(examples[part.row].has_beat for part in parts):
        return []
    beats = [(examples[part.row].beat, part.start / model.config.frame_rate) for part in parts]
    return [Beat(bpm, first - start) for (bpm, first), start in beats]


def add_baselines(clips: ClipNll, examples: Sequence[Example], baselines: Baselines) -> ClipNll:
    """The same clips, with the sums of the baselines over the same cells."""
    sums: dict[str, list[np.ndarray]] = {name: [] for name in NAMES}
    scored = baselines.nll(example.codes for example in examples)
    for found in track(scored, "NLL, baselines", unit="clip", total=len(examples)):
        for name, cells in found.items():
            sums[name].append(by_frame.by_range(cells, 0, clips.edges))
    return replace(clips, by_range=clips.by_range | {name: np.stack(rows) for name, rows in sums.items()})


def summarise(clips: ClipNll, frame_rate: float, bootstrap: Bootstrap) -> Scores:
    """Estimates of every variant and baseline, per codebook, and of the gains between them.

    `bits_per_second` is nats per token x tokens per second / ln 2. A gain is positive where it should be.
    """
    num_codebooks = next(iter(clips.sums.values())).shape[1]

    def per_token(sums: np.ndarray, cells: np.ndarray = clips.cells) -> Estimate:
        return intervals.ratio(sums if sums.ndim == 1 else sums.sum(axis=1), cells, bootstrap)

    def by_codebook(name: str, sums: np.ndarray) -> dict[str, Estimate]:
        return {
            codebook_estimate(f"nll_{name}", q + 1): per_token(sums[:, q], clips.frames) for q in range(num_codebooks)
        }

    scores = Scores(tables={"nll": clips.table()})
    for name, sums in clips.sums.items():
        scores.add({f"nll_{name}": per_token(sums)})
        scores.add(by_codebook(name, sums))
    gains = GAINS | {f"{name}_gain": (name, "caption") for name in NAMES}
    for name, (worse, better) in gains.items():
        if worse in clips.sums and better in clips.sums:
            difference = clips.sums[worse] - clips.sums[better]
            scores.add({f"nll_{name}": per_token(difference)})
            if worse in NAMES:
                scores.add(by_codebook(name, difference))
    nll = scores.estimates["nll_caption"]
    bits = num_codebooks * frame_rate / math.log(2)
    scores.add(
        {
            "perplexity": Estimate(math.exp(nll.value), math.exp(nll.low), math.exp(nll.high), nll.n, nll.method),
            "bits_per_second": Estimate(nll.value * bits, nll.low * bits, nll.high * bits, nll.n, nll.method),
        }
    )
    scores.columns = columns("nll", scores.estimates, num_codebooks)
    scores.notes["nll_by_frame"] = by_frame.summary(clips.by_range, clips.frames, clips.edges)
    scores.notes["nll"] = {"clips": len(clips.ids), "cells": int(clips.cells.sum()), "frame_rate": frame_rate}
    return scores


def score(
    model: LanguageModel,
    examples: Sequence[Example],
    baselines: Baselines | None,
    *,
    frame_rate: float,
    batch_size: int = 16,
    bootstrap: Bootstrap,
) -> Scores:
    """Score one model on one split. Examples with audio prompts add the variants with prompts."""
    check_unique([example.id for example in examples], "held-out codes")
    variants = TEXT_VARIANTS + (PROMPT_VARIANTS if examples[0].prompt is not None else ())
    if any(example.has_beat for example in examples) and model.config.beat:
        variants += BEAT_VARIANTS
    clips = evaluate(model, examples, variants, batch_size, bootstrap.seed)
    if baselines is not None:
        clips = add_baselines(clips, examples, baselines)
    scores = summarise(clips, frame_rate, bootstrap)
    scores.notes["nll"]["digest"] = digest(examples)
    longest = int(clips.frames.max())
    if longest > model.config.max_frames:
        scores.notes["nll"]["windows"] = (
            f"clips of up to {longest} frames, scored in windows of at most {model.config.max_frames}, which the model is "
            "made for"
        )
    for name, (worse, _) in GAINS.items():
        if worse not in clips.sums and any(variant.name == worse for variant in variants):
            what = "caption" if worse == "shuffled" else "track"
            scores.notes[f"nll_{name}"] = withheld(what, len(examples))
    if baselines is not None:
        scores.notes["baselines"] = {
            "bigram_weight": baselines.weights.tolist(),
            "first_frame": "unigram",
            "copy_weight": baselines.copy.weights.tolist(),
            "copy_lags": [MIN_LAG, baselines.copy.longest],
        }
    return scores
