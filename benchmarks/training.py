"""Training speed beside transformers' MusicGen, and what the pipeline around a training step costs.

`python -m benchmarks.training` takes about 5 minutes. First part: forward, backward and fused AdamW on 4 clips of 250 frames
of the delay pattern, same sizes and weights (d 512, 8 layers), text as cross-attention memory, one thread; a step of one
follows a step of the other, and the median of each is shown. Second part: the default's model trained by `fit` (loader,
logging, callbacks, checkpoints) beside a bare loop over the same batches.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks import peer
from benchmarks.generation import TOKENS, build
from musicgen_lite import models, params
from musicgen_lite.io.arrays import ArrayWriter
from musicgen_lite.io.audio import num_frames
from musicgen_lite.models import Conditions
from musicgen_lite.training.batch_size import ON_CPU
from musicgen_lite.training.corpus import Corpus
from musicgen_lite.training.dataset import TokenDataset
from musicgen_lite.training.fit import TrainingPaths, fit
from musicgen_lite.training.module import codebook_nll, parameter_groups
from musicgen_lite.training.sampler import EpochSampler, StepLoader
from musicgen_lite.training.setup import choose_hardware, model_config

CLIPS, FRAMES = 4, 250


def stepper(
    model: Any, loss: Callable[[], Tensor], dtype: torch.dtype | None, device: str = "cpu"
) -> Callable[[], float]:
    """One optimizer step; returns the loss."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def step() -> float:
        with torch.autocast(device, dtype=dtype, enabled=dtype is not None):
            value = loss()
        value.backward()
        optimizer.step()
        optimizer.zero_grad()
        return float(value.detach())

    return step


Pair = tuple[Callable[[], float], Callable[[], float]]


def pair(
    dtype: torch.dtype | None, device: str = "cpu", clips: int = CLIPS, frames: int = FRAMES, **sizes: int
) -> tuple[Pair, Tensor]:
    """A step of ours and one of theirs, on the same codes `[B, N_q, T]`, which are returned as well."""
    ours = build("delay", frames, **sizes).train()
    theirs = peer.decoder(ours).train().to(device)
    ours.to(device)
    text = torch.randn(TOKENS, 64)
    conditions = Conditions.from_texts([text] * clips).to(device)
    codes = torch.randint(0, 2048, (clips, 4, frames)).to(device)
    layout = ours.pattern.layout(frames, 4, device)
    inputs = layout.inputs(codes, 2048).transpose(1, 2).flatten(0, 1)  # [B * N_q, S], as theirs are
    labels = layout.build(codes, -100)  # [B, S, N_q]; empty slots are ignored
    with torch.no_grad():
        memory = ours.context(conditions).memory

    def mine() -> Tensor:
        logits = ours(codes, conditions)
        return torch.nn.functional.cross_entropy(logits.flatten(0, 2).float(), codes.flatten())

    def other() -> Tensor:
        return theirs(input_ids=inputs, encoder_hidden_states=memory, labels=labels).loss

    return (stepper(ours, mine, dtype, device), stepper(theirs, other, dtype, device)), codes


def side_by_side(dtype: torch.dtype | None, repeats: int) -> None:
    steps, codes = pair(dtype)
    losses = [step() for step in steps]
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for step, taken in zip(steps, times, strict=True):
            start = time.perf_counter()
            step()
            taken.append(time.perf_counter() - start)
    mine_s, their_s = (codes.numel() / statistics.median(taken) for taken in times)
    name = "float32" if dtype is None else "bfloat16"
    print(
        f"{name}: {mine_s:,.0f} codes a second, theirs {their_s:,.0f}: ratio {mine_s / their_s:.2f} "
        f"(first losses {losses[0]:.3f}, {losses[1]:.3f})",
        flush=True,
    )


def write_corpus(folder: Path, given: params.Params) -> tuple[Path, Path]:
    """Random codes and texts in the sizes of the default."""
    random = np.random.default_rng(0)
    ids = [f"{i:03}" for i in range(140)]
    codec = {"name": "-", "fingerprint": "-", "codebook_size": 512, "num_codebooks": 4, "frame_rate": 50, "rate": 16000}
    frames = {
        "target": num_frames(given.data.target_seconds, 16000, 50),
        "prompt": num_frames(given.data.prompt_seconds, 16000, 50),
    }
    for name, length in frames.items():
        codes = {key: random.integers(0, 512, (length, 4)) for key in ids}
        write_store(folder / "tokens" / name, codes, "uint16", codec)
    texts = {key: random.standard_normal((20, 128)) for key in ids}
    about = {"name": "-", "fingerprint": "-", "dim": 128, "max_tokens": given.text.max_tokens}
    write_store(folder / "text", texts, "float16", {**about, "variants": {"caption": [""]}})
    return folder / "tokens", folder / "text"


def write_store(directory: Path, arrays: dict[str, np.ndarray], dtype: str, meta: dict[str, Any]) -> None:
    directory.mkdir(parents=True)
    writer = ArrayWriter(directory, dtype)
    for key, array in arrays.items():
        writer.add(key, array, split="validation" if int(key) >= 132 else "train", track_id=key)
    writer.close(meta)


def overhead(steps: int, repeats: int) -> None:
    """Seconds that `fit` takes for its steps, beside the same steps in a bare loop; one follows the other."""
    given = params.load()
    changed = given.train.model_copy(update={"steps": steps, "validations": 1, "preview_every": 0})
    given = given.model_copy(update={"train": changed})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stores = write_corpus(folder, given)
        # The first round warms up both.
        rounds = [(in_fit(given, *stores, folder / f"{i}"), bare(given, *stores)) for i in range(repeats + 1)][1:]
    ours, loop = (statistics.median(times) for times in zip(*rounds, strict=True))
    print(
        f"{steps} steps of the default: {ours:.1f} s in fit, {loop:.1f} s in a bare loop: overhead {ours / loop - 1:.1%}"
    )


def in_fit(given: params.Params, tokens: Path, text: Path, folder: Path) -> float:
    paths = TrainingPaths(folder, folder / "model.safetensors", folder / "curves.json", folder / "timings.json")
    result = fit(given, Corpus(tokens, text), paths)
    assert result is not None
    return sum(row["seconds"] for row in result.timings)


def bare(given: params.Params, tokens: Path, text: Path) -> float:
    """The same steps on batches that are there, and nothing else."""
    corpus = Corpus(tokens, text)
    config = model_config(given, corpus.inputs)
    data = TokenDataset(corpus, config.max_frames, given.seed, given.model.dropout_text)
    train, size = given.train, ON_CPU
    sampler = EpochSampler(corpus.clips("train"), given.seed)
    batches = list(StepLoader(data, sampler, size, train.effective_batch_size, first=0, start=0, stop=train.steps))
    model = models.build(config)
    optimizer = torch.optim.AdamW(parameter_groups(model, train.weight_decay), lr=1e-3, betas=train.betas, fused=True)
    dtype = choose_hardware(given).autocast
    start = time.perf_counter()
    for number, batch in enumerate(batches, 1):
        with torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
            loss = codebook_nll(model, batch).sum() / batch.step_cells
        loss.backward()
        if number % (train.effective_batch_size // size) == 0:
            torch.nn.utils.clip_grad_norm_(model.parameters(), train.clip_norm)
            optimizer.step()
            optimizer.zero_grad()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--steps", type=int, default=20)
    given = parser.parse_args()
    torch.set_num_threads(1)
    side_by_side(None, given.repeats)
    side_by_side(torch.bfloat16, given.repeats)
    overhead(given.steps, given.repeats // 2)


if __name__ == "__main__":
    main()
