"""The batch size: a number, or the largest that fits into the GPU's memory."""

import contextlib
import copy
import dataclasses
from collections.abc import Callable, Sequence

import torch

from musicgen_lite.errors import UserError
from musicgen_lite.models import LanguageModel
from musicgen_lite.params import TrainParams
from musicgen_lite.training.dataset import SampleRef, TokenDataset
from musicgen_lite.training.module import codebook_nll, parameter_groups

ON_CPU = 8  # memory is no limit on a CPU, and larger batches are no faster


def resolve(
    train: TrainParams, model: LanguageModel, dataset: TokenDataset, device: str, dtype: torch.dtype | None
) -> int:
    """`train.batch_size` as a number; for `auto` the largest one that fits on the GPU, found by trying.

    `device`: cpu or cuda; `dtype` turns autocast on. UserError where `auto` is not possible.
    """
    if train.batch_size != "auto":
        return train.batch_size
    effective = train.effective_batch_size
    if train.devices * train.num_nodes > 1:
        raise UserError(
            "train.batch_size: auto tries on one device; with several devices or nodes give a number, at most "
            f"{effective // (train.devices * train.num_nodes)}"
        )
    sizes = [size for size in range(effective, 0, -1) if effective % size == 0]
    if device == "cpu":
        return next(size for size in sizes if size <= ON_CPU)
    return largest(sizes, lambda size: optimizer_step(model, dataset, size, device, dtype))


def largest(sizes: Sequence[int], attempt: Callable[[int], None]) -> int:
    """The first of the descending `sizes` at which `attempt` does not run out of memory; UserError if none does."""
    for size in sizes:
        try:
            attempt(size)
        except torch.OutOfMemoryError:
            continue
        finally:
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        return size
    raise UserError(
        "train.batch_size: not even one clip fits into the GPU's memory; lower train.crop_seconds or the sizes of the model"
    )


def optimizer_step(
    model: LanguageModel, dataset: TokenDataset, size: int, device: str, dtype: torch.dtype | None
) -> None:
    """The peak memory of a training: one step on `size` of the longest clips with the longest text, with averaged weights."""
    trained, average = (copy.deepcopy(model).to(device) for _ in range(2))
    targets = dataset.corpus.targets
    longest = SampleRef(targets.key(int(targets.lengths.argmax())))
    batch = dataset.batch([longest] * size)
    batch = dataclasses.replace(batch, conditions=batch.conditions.pad_text(model.config.max_text)).to(device)
    optimizer = torch.optim.AdamW(parameter_groups(trained, 0.1))
    with torch.autocast(device, dtype=dtype) if dtype else contextlib.nullcontext():
        loss = codebook_nll(trained, batch).sum()
    loss.backward()
    optimizer.step()
    del average
