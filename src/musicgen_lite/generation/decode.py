"""The decoding loop: one for both models and every pattern."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from musicgen_lite.errors import UserError
from musicgen_lite.generation.sampling import Noise, Sampling, draw
from musicgen_lite.models.base import LanguageModel
from musicgen_lite.models.conditions import Conditions
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
) -> Tensor:
    """Sample codes `[B, N_q, frames]`: one item for each row of `conditions`, drawn with that item's seed.

    Items are decoded `rows` at a time; guidance doubles the rows inside. With a `label`, progress is shown under it.
    On a CPU in float32 an item's codes do not depend on the other items. UserError if the model cannot generate that
    many frames, or `sampling` does not fit it.
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
    conditions = conditions.pad_text(config.max_text)  # a fixed length, for the same reason as MIN_ROWS
    codes = torch.empty(len(seeds), config.num_codebooks, frames, dtype=torch.int64, device=conditions.text.device)
    batches = [slice(i, i + rows) for i in range(0, len(seeds), rows)]
    steps = (step for b in batches for step in _decode(model, conditions[b], sampling, seeds[b], out=codes[b]))
    was_training = model.training
    model.eval()
    try:
        layout = model.pattern.layout(frames, config.num_codebooks)
        # The caches are in the weights' own precision, whatever the caller trains in.
        with torch.autocast(codes.device.type, enabled=False):
            for _ in track(steps, label, total=len(batches) * layout.steps, unit="step") if label else steps:
                pass
    finally:
        model.train(was_training)
    return codes


def _decode(
    model: LanguageModel, conditions: Conditions, sampling: Sampling, seeds: Sequence[int], out: Tensor
) -> Iterator[int]:
    """Decode one batch into `out` `[B, N_q, T]`, yielding the number of each step that is done."""
    items, guided = len(seeds), sampling.guidance != 1
    device, special = out.device, model.config.codebook_size
    least = MIN_ROWS // 2 if guided else MIN_ROWS
    if device.type == "cpu" and items < least:
        conditions = conditions[torch.arange(least).clamp_max(items - 1)]
    filled = len(conditions)
    if guided:
        conditions = Conditions.cat([conditions, conditions.without_text().without_prompt()])
    state = model.start(conditions, out.shape[2])
    layout = state.layout
    empty = layout.source == out[0].numel()
    noise = Noise(seeds, layout.cells, special, device)
    sequence = torch.empty(items, layout.steps, layout.cells, dtype=torch.int64, device=device)
    cells = torch.full((len(conditions), layout.cells), special, device=device)
    for step in range(layout.steps):
        logits = model.step(cells, state)
        if guided:
            cond, uncond = logits[:items].float(), logits[filled : filled + items].float()
            logits = uncond + sampling.guidance * (cond - uncond)
        # A slot without a cell of the clip reads as the special id, as in training.
        sequence[:, step] = draw(logits[:items], noise[step], sampling).masked_fill(empty[step], special)
        cells[:items] = sequence[:, step]
        if guided:
            cells[filled : filled + items] = sequence[:, step]
        yield step
    out.copy_(layout.revert(sequence))
