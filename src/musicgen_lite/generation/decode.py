"""The decoding loop: one for all models and every pattern."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Protocol

import torch
from torch import Tensor

from musicgen_lite.device import check_weights, choose_kv_cache, fitting
from musicgen_lite.errors import UserError
from musicgen_lite.generation.cpu import CpuDecoder
from musicgen_lite.generation.sampling import Sampling, uniforms
from musicgen_lite.generation.static import StaticDecoder
from musicgen_lite.io.progress import track
from musicgen_lite.models.core.base import DecodingState, LanguageModel
from musicgen_lite.models.core.conditions import Conditions
from musicgen_lite.patterns import Layout


class Decoder(Protocol):
    """How the loop runs a model, on one kind of device."""

    def start(self, conditions: Conditions, frames: int, prompt_tokens: Tensor) -> DecodingState:
        """The state after the first steps, whose cells `[B, S', C]` are given; see `LanguageModel.start`."""

    def logits(self, cells: Tensor, state: DecodingState) -> Tensor:
        """Logits `[B, C, K]` of the state's next step, given the cells `[B, C]` of the step before it."""

    def draw(self, logits: Tensor, scales: Sequence[float], uniforms: Tensor, sampling: Sampling) -> Tensor:
        """Codes `[B, C]` from logits `[branches, B, C, K]` of which each branch has a scale; see `sampling.draw`."""


def prepare(model: LanguageModel, weights: str = "float32", kv_cache: str = "auto") -> CpuDecoder | StaticDecoder:
    """The decoder for a model on its device, with its `weights` as float32 or bfloat16, on a CPU also int8, on a GPU float16.

    kv_cache: the format of keys and values, see `device.choose_kv_cache`. Packing takes seconds for large models, and so does recording on a GPU: to generate more than once, prepare once and pass
    the decoder to `generate`. UserError for another format.
    """
    device = model.head.device.type
    check_weights(weights, device, "weights")
    kv_cache = choose_kv_cache(kv_cache, weights, device, "kv_cache")
    return CpuDecoder(model, weights, kv_cache) if device == "cpu" else StaticDecoder(model, weights)


def generate(
    model: LanguageModel,
    conditions: Conditions,
    frames: int,
    sampling: Sampling,
    seeds: Sequence[int],
    rows: int = 64,
    label: str = "",
    prefix_codes: Tensor | None = None,
    decoder: Decoder | None = None,
) -> Tensor:
    """Sample codes `[B, N_q, frames]`: one item for each row of `conditions`, drawn with that item's seed.

    `prefix_codes` `[B, N_q, T']` are the first frames of each item, which it continues. Items are decoded `rows` at a time;
    guidance multiplies the rows inside. With a `label`, progress is shown under it. `decoder`: from `prepare`, by default
    with float32 weights.

    On a CPU a step runs on as many threads as torch has; an item's codes depend neither on the other items nor on the
    threads. UserError if the rows do not fit into a GPU's memory, the model cannot generate that many frames, or `sampling`
    does not fit it.
    """
    _check(model, conditions, frames, sampling, seeds, prefix_codes)
    config = model.config
    decoder = decoder or prepare(model)
    conditions = conditions.pad_text(config.max_text)  # a fixed length, for the same reason as prefill.MIN_ROWS
    device = conditions.text.device
    codes = torch.full((len(seeds), config.num_codebooks, frames), config.codebook_size, device=device)
    prefix_frames = 0 if prefix_codes is None else prefix_codes.shape[2]
    if prefix_codes is not None:
        codes[:, :, :prefix_frames] = prefix_codes
    batches = [slice(i, i + rows) for i in range(0, len(seeds), rows)]
    jobs = [_decode(model, decoder, conditions[b], sampling, seeds[b], codes[b], prefix_frames) for b in batches]
    was_training = model.training
    model.eval()
    try:
        layout = model.pattern.layout(frames, config.num_codebooks, device)
        total = len(batches) * (layout.steps - _first_step(layout, prefix_frames))
        steps, together = chain.from_iterable(jobs), min(rows, len(seeds))
        with fitting("rows (in a run sample.batch_size)", together, "generate a shorter clip, or with 16-bit weights"):
            for _ in track(steps, label, total=total, unit="step") if label else steps:
                pass
    finally:
        model.train(was_training)
    return codes


def _check(
    model: LanguageModel,
    conditions: Conditions,
    frames: int,
    sampling: Sampling,
    seeds: Sequence[int],
    prefix_codes: Tensor | None,
) -> None:
    """Raise UserError for a length or a `top_k` that the model does not allow, ValueError for shapes that do not match."""
    config = model.config
    if not 1 <= frames <= config.max_frames:
        raise UserError(
            f"a length of {frames} frames ({frames / config.frame_rate:g} s) is not possible: this model generates "
            f"1 to {config.max_frames} frames (up to {config.max_frames / config.frame_rate:g} s)"
        )
    if sampling.top_k > config.codebook_size:
        raise UserError(
            f"top_k: found {sampling.top_k}; at most {config.codebook_size}, all codes of a codebook, are allowed"
        )
    if len(seeds) != len(conditions):
        raise ValueError(f"{len(conditions)} rows of conditions, but {len(seeds)} seeds")
    if prefix_codes is None:
        return
    expected = (len(seeds), config.num_codebooks)
    if prefix_codes.shape[:2] != expected or prefix_codes.shape[2] >= frames:
        raise ValueError(
            f"prefix codes {tuple(prefix_codes.shape)} are no beginning of [{expected[0]}, {expected[1]}, {frames}]"
        )


def _first_step(layout: Layout, prefix_frames: int) -> int:
    """The first step with a cell after the prefix, the first `prefix_frames` frames."""
    return int(layout.host_step[:, prefix_frames:].min())


def _decode(
    model: LanguageModel,
    decoder: Decoder,
    conditions: Conditions,
    sampling: Sampling,
    seeds: Sequence[int],
    codes: Tensor,
    prefix_frames: int,
) -> Iterator[int]:
    """Fill `codes` `[B, N_q, T]` after their first `prefix_frames` frames, yielding the number of each finished step."""
    items, device, special = len(seeds), codes.device, model.config.codebook_size
    scales, branch_conditions = zip(*sampling.branches(conditions), strict=True)
    # Branch by branch: the item of each row of the batch.
    item_of = torch.arange(items, device=device).repeat(len(branch_conditions))
    layout = model.pattern.layout(codes.shape[2], model.config.num_codebooks, device)
    sequence = layout.build(codes, special)
    first = _first_step(layout, prefix_frames)
    # The caches are in the weights' own precision, whatever the caller trains in.
    with torch.no_grad(), torch.autocast(device.type, enabled=False):
        state = decoder.start(Conditions.cat(branch_conditions), codes.shape[2], sequence[item_of, :first])
    # Not sampled: slots without a cell of the clip, which hold the special id as in training, and cells of the prefix.
    fixed = (layout.source == codes[0].numel()) | (layout.source % codes.shape[2] < prefix_frames)
    numbers = uniforms(seeds, layout.steps - first, layout.cells, device)
    cells = sequence[item_of, first - 1] if first else sequence.new_full((len(item_of), layout.cells), special)
    for step in range(first, layout.steps):
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            logits = decoder.logits(cells, state).unflatten(0, (len(branch_conditions), items))
            sampled = decoder.draw(logits, scales, numbers[step - first], sampling)
            sequence[:, step] = torch.where(fixed[step], sequence[:, step], sampled)
            cells = sequence[item_of, step]
        yield step
    codes.copy_(layout.revert(sequence))
