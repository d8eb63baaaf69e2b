"""The decoding loop: one for both models and every pattern."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from musicgen_lite.errors import UserError
from musicgen_lite.generation.sampling import Noise, Sampling, draw
from musicgen_lite.models.base import LanguageModel
from musicgen_lite.models.conditions import Conditions
from musicgen_lite.patterns import Layout
from musicgen_lite.progress import track

# With fewer rows than this, CPU matrix products take another path, whose sums round differently. Smaller batches are
# filled up to it, so that an item's codes do not depend on the batch it is in.
MIN_ROWS = 4


@torch.no_grad()
def generate(
    model: LanguageModel,
    conditions: Conditions,
    frames: int,
    sampling: Sampling,
    seeds: Sequence[int],
    rows: int = 64,
    label: str = "",
    known: Tensor | None = None,
) -> Tensor:
    """Sample codes `[B, N_q, frames]`: one item for each row of `conditions`, drawn with that item's seed.

    `known` `[B, N_q, T']` are the first frames of each item, which it continues. Items are decoded `rows` at a time;
    guidance multiplies the rows inside. With a `label`, progress is shown under it. On a CPU in float32 an item's codes
    do not depend on the other items. UserError if the model cannot generate that many frames, or `sampling` does not fit
    it.
    """
    config = model.config
    if not 1 <= frames <= config.max_frames:
        raise UserError(
            f"a length of {frames} frames ({frames / config.frame_rate:g} s) is not possible: this model generates "
            f"1 to {config.max_frames} frames (up to {config.max_frames / config.frame_rate:g} s)"
        )
    if sampling.top_k > config.codebook_size:
        raise UserError(f"top_k: found {sampling.top_k}; this model has {config.codebook_size} codes in a codebook")
    if len(seeds) != len(conditions):
        raise ValueError(f"{len(conditions)} rows of conditions, but {len(seeds)} seeds")
    if known is not None and (known.shape[:2] != (len(seeds), config.num_codebooks) or known.shape[2] >= frames):
        raise ValueError(
            f"known codes {tuple(known.shape)} do not begin [{len(seeds)}, {config.num_codebooks}, {frames}]"
        )
    conditions = conditions.pad_text(config.max_text)  # a fixed length, for the same reason as MIN_ROWS
    device = conditions.text.device
    codes = torch.full((len(seeds), config.num_codebooks, frames), config.codebook_size, device=device)
    begun = 0 if known is None else known.shape[2]
    if known is not None:
        codes[:, :, :begun] = known
    batches = [slice(i, i + rows) for i in range(0, len(seeds), rows)]
    steps = (step for b in batches for step in _decode(model, conditions[b], sampling, seeds[b], codes[b], begun))
    was_training = model.training
    model.eval()
    try:
        layout = model.pattern.layout(frames, config.num_codebooks, device)
        total = len(batches) * (layout.steps - _first_unknown(layout, begun))
        # The caches are in the weights' own precision, whatever the caller trains in.
        with torch.autocast(codes.device.type, enabled=False):
            for _ in track(steps, label, total=total, unit="step") if label else steps:
                pass
    finally:
        model.train(was_training)
    return codes


def _first_unknown(layout: Layout, begun: int) -> int:
    """The first step with a cell behind the first `begun` frames."""
    return int(layout.step[:, begun:].min())


def _decode(
    model: LanguageModel, conditions: Conditions, sampling: Sampling, seeds: Sequence[int], codes: Tensor, begun: int
) -> Iterator[int]:
    """Fill `codes` `[B, N_q, T]` behind their first `begun` frames, yielding the number of each step that is done."""
    items, device, special = len(seeds), codes.device, model.config.codebook_size
    weights, told = zip(*sampling.branches(conditions), strict=True)
    # Branch by branch: where an item's logits stand among the rows of the batch.
    filled = max(items, -(-MIN_ROWS // len(told))) if device.type == "cpu" else items
    wanted = torch.arange(filled, device=device).clamp_max(items - 1)
    row_of = wanted.repeat(len(told))
    conditions = Conditions.cat([one[wanted] for one in told])
    layout = model.pattern.layout(codes.shape[2], model.config.num_codebooks, device)
    sequence = layout.build(codes, special)
    first = _first_unknown(layout, begun)
    state = model.start(conditions, codes.shape[2], sequence[row_of, :first])
    # A slot without a cell of the clip reads as the special id, as in training; one of a known frame as what is known.
    given = (layout.source == codes[0].numel()) | (layout.source % codes.shape[2] < begun)
    noise = Noise(seeds, layout.cells, special, device)
    cells = sequence[row_of, first - 1] if first else sequence.new_full((len(row_of), layout.cells), special)
    for step in range(first, layout.steps):
        logits = model.step(cells, state).float().unflatten(0, (len(told), filled))[:, :items]
        mixed = logits[0] if len(told) == 1 else sum(w * each for w, each in zip(weights, logits, strict=True))
        drawn = draw(mixed, noise[step - first], sampling)
        sequence[:, step] = torch.where(given[step], sequence[:, step], drawn)
        cells = sequence[row_of, step]
        yield step
    codes.copy_(layout.revert(sequence))
