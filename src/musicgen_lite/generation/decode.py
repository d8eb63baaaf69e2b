"""The decoding loop: one for all models and every pattern."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Protocol

import torch
from torch import Tensor

from musicgen_lite.errors import UserError
from musicgen_lite.generation.cpu import WEIGHTS, CpuDecoder
from musicgen_lite.generation.sampling import Sampling, Uniforms, draw
from musicgen_lite.io.progress import track
from musicgen_lite.models.core.base import DecodingState, LanguageModel
from musicgen_lite.models.core.conditions import Conditions
from musicgen_lite.patterns import Layout

# With fewer rows than this, torch's matrix products on a CPU take another path, whose sums round differently. Where a
# decoding starts, smaller batches are filled up to it, so that an item's codes do not depend on the batch it is in.
MIN_ROWS = 4


class Decoder(Protocol):
    """What the loop does with a model, on one kind of device."""

    def logits(self, cells: Tensor, state: DecodingState) -> Tensor:
        """Logits `[B, C, K]` of the state's next step, given the cells `[B, C]` of the step before it."""

    def draw(self, logits: Tensor, scales: Sequence[float], uniforms: Tensor, sampling: Sampling) -> Tensor:
        """Codes `[B, C]` from logits `[branches, B, C, K]` of which each branch has a scale; see `sampling.draw`."""


class TorchDecoder:
    """The steps in torch, on any device."""

    def __init__(self, model: LanguageModel) -> None:
        self.logits = model.step

    def draw(self, logits: Tensor, scales: Sequence[float], uniforms: Tensor, sampling: Sampling) -> Tensor:
        mixed = sum(scale * branch.float() for scale, branch in zip(scales, logits, strict=True))
        assert isinstance(mixed, Tensor), "there is at least one branch"
        return draw(mixed, uniforms, sampling)


def prepare(model: LanguageModel, weights: str = "float32") -> Decoder:
    """What runs a model's steps where it lies; on a CPU with its `weights` held as float32, bfloat16 or int8.

    Packing small weights takes seconds for large models: who generates more than once hands this to `generate`. UserError for
    another kind of weights.
    """
    if weights not in WEIGHTS:
        raise UserError(f"weights: found {weights!r}; allowed: {', '.join(WEIGHTS)}")
    return CpuDecoder(model, weights) if model.head.device.type == "cpu" else TorchDecoder(model)


def generate(
    model: LanguageModel,
    conditions: Conditions,
    frames: int,
    sampling: Sampling,
    seeds: Sequence[int],
    rows: int = 64,
    label: str = "",
    known: Tensor | None = None,
    weights: str | Decoder = "float32",
) -> Tensor:
    """Sample codes `[B, N_q, frames]`: one item for each row of `conditions`, drawn with that item's seed.

    `known` `[B, N_q, T']` are the first frames of each item, which it continues. Items are decoded `rows` at a time;
    guidance multiplies the rows inside. With a `label`, progress is shown under it.

    On a CPU as many items are decoded side by side as torch has threads, with `weights` held as `prepare` takes them, or what it
    gave; in float32 an item's codes depend neither on the other items nor on the threads. UserError if the model cannot
    generate that many frames, or `sampling` or `weights` do not fit it.
    """
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
    if known is not None and (known.shape[:2] != (len(seeds), config.num_codebooks) or known.shape[2] >= frames):
        raise ValueError(
            f"known codes {tuple(known.shape)} do not begin [{len(seeds)}, {config.num_codebooks}, {frames}]"
        )
    decoder = prepare(model, weights) if isinstance(weights, str) else weights
    conditions = conditions.pad_text(config.max_text)  # a fixed length, for the same reason as MIN_ROWS
    device = conditions.text.device
    codes = torch.full((len(seeds), config.num_codebooks, frames), config.codebook_size, device=device)
    begun = 0 if known is None else known.shape[2]
    if known is not None:
        codes[:, :, :begun] = known
    threads = min(len(seeds), torch.get_num_threads()) if device.type == "cpu" else 1
    rows = min(rows, -(-len(seeds) // threads))
    batches = [slice(i, i + rows) for i in range(0, len(seeds), rows)]
    jobs = [_decode(model, decoder, conditions[b], sampling, seeds[b], codes[b], begun) for b in batches]
    was_training = model.training
    model.eval()
    try:
        layout = model.pattern.layout(frames, config.num_codebooks, device)
        total = len(batches) * (layout.steps - _first_unknown(layout, begun))
        steps = _side_by_side(jobs, threads)
        for _ in track(steps, label, total=total, unit="step") if label else steps:
            pass
    finally:
        model.train(was_training)
    return codes


def _side_by_side(jobs: Sequence[Iterator[int]], threads: int) -> Iterator[int]:
    """What the jobs yield, with up to `threads` of them under way at a time, one torch thread each."""
    if threads == 1:
        for job in jobs:
            yield from job
        return
    done: SimpleQueue[int | BaseException | None] = SimpleQueue()  # a step, an error, or that a job has ended
    given_up = False

    def work(job: Iterator[int]) -> None:
        try:
            for step in job:
                done.put(step)
                if given_up:
                    return
            done.put(None)
        except BaseException as error:
            done.put(error)

    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            for job in jobs:
                pool.submit(work, job)
            under_way = len(jobs)
            while under_way:
                told = done.get()
                if isinstance(told, BaseException):
                    raise told  # at once: the other jobs are given up at their next step
                if told is None:
                    under_way -= 1
                else:
                    yield told
        finally:
            given_up = True


def _first_unknown(layout: Layout, begun: int) -> int:
    """The first step with a cell behind the first `begun` frames."""
    return int(layout.step[:, begun:].min())


def _decode(
    model: LanguageModel,
    decoder: Decoder,
    conditions: Conditions,
    sampling: Sampling,
    seeds: Sequence[int],
    codes: Tensor,
    begun: int,
) -> Iterator[int]:
    """Fill `codes` `[B, N_q, T]` behind their first `begun` frames, yielding the number of each step that is done."""
    items, device, special = len(seeds), codes.device, model.config.codebook_size
    scales, told = zip(*sampling.branches(conditions), strict=True)
    # Branch by branch: where an item's logits stand among the rows of the batch.
    row_of = torch.arange(items, device=device).repeat(len(told))
    filled = torch.arange(max(len(row_of), MIN_ROWS), device=device).clamp_max(len(row_of) - 1)
    layout = model.pattern.layout(codes.shape[2], model.config.num_codebooks, device)
    sequence = layout.build(codes, special)
    first = _first_unknown(layout, begun)
    # The caches are in the weights' own precision, whatever the caller trains in.
    with torch.no_grad(), torch.autocast(device.type, enabled=False):
        state = model.start(Conditions.cat(told)[filled], codes.shape[2], sequence[row_of[filled], :first])
    state = state.first(len(row_of))
    # A slot without a cell of the clip reads as the special id, as in training; one of a known frame as what is known.
    given = (layout.source == codes[0].numel()) | (layout.source % codes.shape[2] < begun)
    uniforms = Uniforms(seeds, layout.cells, device)
    cells = sequence[row_of, first - 1] if first else sequence.new_full((len(row_of), layout.cells), special)
    for step in range(first, layout.steps):
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            logits = decoder.logits(cells, state).unflatten(0, (len(told), items))
            drawn = decoder.draw(logits, scales, uniforms[step - first], sampling)
            sequence[:, step] = torch.where(given[step], sequence[:, step], drawn)
            cells = sequence[row_of, step]
        yield step
    codes.copy_(layout.revert(sequence))
