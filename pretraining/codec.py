"""Train the shipped codec: `python -m pretraining.codec`. A run that was killed goes on from its last
checkpoint, one that was asked to end (SIGTERM) from where it was."""

import argparse
import copy
import json
import math
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from transformers import EncodecModel

import pretraining  # noqa: F401  (puts this tree's src first)
from musicgen_lite.io.files import write_json, write_text
from musicgen_lite.pretrained import shipped
from pretraining import codec_state, corpus, sampled, shipping
from pretraining.codec_metrics import evaluate
from pretraining.codec_training import Training

HERE = Path(__file__).parent
STATE = HERE / "checkpoints" / "codec" / "state.safetensors"
LOG_EVERY = 100


CARD = """# The shipped codec

A neural audio codec (EnCodec, transformers' `EncodecModel`): {rate} Hz mono to {frame_rate} frames a second of
{num_codebooks} codes out of {codebook_size} each, and back.

- Training data: {clips} clips of {seconds:g} s from `musicgen_lite.sources.synthetic`, seeds {first} to {last};
  {sampled_clips} compositions of the seeds {sampled_first} to {sampled_last} by the sampled SoundFont FluidR3 (MIT), with random
  programs, mixes, tone, rooms and levels (`pretraining/sampled.py`)
- Held-out data: {held_out} clips of each kind, of further seeds, never trained on
- Training: {steps} steps, {minutes:.0f} minutes of one CPU thread{start}; `pretraining/params.yaml` holds every parameter
- Rebuild: `dvc repro pretraining/dvc.yaml`
- Weights: fp16, {millions:.2f} M parameters, {megabytes:.2f} MB; sha256 of model.safetensors: {sha256}
- Code commit: filled in when the weights are sealed (`python -m pretraining.manifest`)

Figures on the held-out clips, each coded whole from its file in fp16:

| metric | composed | sampled |
|---|---|---|
| SI-SDR, dB (means removed, mean over clips) | {si_sdr_db:.2f} | {sampled_si_sdr_db:.2f} |
| log-mel L1 (magnitudes; n_fft 1024, hop 256, Hann, 64 mels from 0 Hz to half the rate, natural log, floor 1e-5) | {log_mel_l1:.3f} | {sampled_log_mel_l1:.3f} |
{perplexities}
| encode and decode, one CPU thread, times real time | {times_real_time:.0f} | {sampled_times_real_time:.0f} |

It has heard no recorded music, speech or singing. `python -m pretraining.codec_metrics --recordings FOLDER` measures
how well it codes recordings.
"""


def without_averages(model: Any) -> Any:
    """A copy of `model` whose codebooks hold fixed values in place of the moving averages that only training needs."""
    model = copy.deepcopy(model)
    for layer in model.quantizer.layers:
        layer.codebook.embed_avg.copy_(layer.codebook.embed)
        layer.codebook.cluster_size.fill_(1.0)
    return model


def card(scores: dict[str, float], params: dict[str, Any], directory: Path) -> str:
    """The model card of the codec in `directory`."""
    data, codec = params["corpus"], params["codec"]
    train, played = corpus.seeds(data)[0], corpus.seeds(params["sampled"])[0]
    rows = [
        f"| codebook {number}: perplexity, codes used of {codec['codebook_size']} |"
        + "".join(
            f" {scores[f'{kind}perplexity_{number}']:.0f}, {scores[f'{kind}codes_used_{number}']:.0f} |"
            for kind in ("", "sampled_")
        )
        for number in range(codec["num_codebooks"])
    ]
    return CARD.format(
        **(data | codec | scores | {"start": ", from the shipped codec of before, widened" if codec["start"] else ""}),
        frame_rate=data["rate"] // math.prod(codec["strides"]),
        first=train[0],
        last=train[-1],
        sampled_clips=len(played),
        sampled_first=played[0],
        sampled_last=played[-1],
        minutes=scores["train_seconds"] / 60,
        millions=scores["parameters"] / 1e6,
        megabytes=(directory / "model.safetensors").stat().st_size / 1e6,
        sha256=shipping.digest(directory),
        perplexities="\n".join(rows),
    )


def finish(
    training: Training, params: dict[str, Any], held_out: dict[str, np.ndarray], out: Path, metrics: Path
) -> None:
    """Export the averaged weights, and measure what was exported: files, card and metrics.

    `held_out` holds clips int16 `[N, T]` of the composed and of the sampled corpus.
    """
    shipping.export(out, without_averages(training.average))
    shipped = EncodecModel.from_pretrained(out, dtype=torch.float32).eval()
    scores = evaluate(shipped, held_out["composed"], params["corpus"]["rate"])
    played = evaluate(shipped, held_out["sampled"], params["corpus"]["rate"])
    scores |= {f"sampled_{name}": value for name, value in played.items()}
    scores["steps"] = training.step
    scores["train_seconds"] = round(training.seconds)
    scores["parameters"] = sum(weight.numel() for weight in shipped.parameters())
    write_text(out / "README.md", card(scores, params, out))
    write_json(metrics, {name: round(value, 4) for name, value in scores.items()})
    print(json.dumps(scores), flush=True)


def begin(params: dict[str, Any], corpora: Sequence[np.ndarray], checkpoint: Path, state: Path) -> Training:
    """The training as `checkpoint` or `state` left it, whichever went further; else from the shipped codec, or new."""
    codec, rate = params["codec"], params["corpus"]["rate"]
    start = None
    if codec["start"] == "shipped":
        start = EncodecModel.from_pretrained(shipped.path("codec"), dtype=torch.float32)
    training = Training(codec, rate, corpora, start)
    if codec_state.step(checkpoint) >= max(0, codec_state.step(state)):
        codec_state.load(training, checkpoint)
    elif codec_state.step(state) >= 0:
        codec_state.unpack(training, state)
    print(f"from step {training.step} to {training.steps}", flush=True)
    return training


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=HERE / "params.yaml")
    parser.add_argument("--corpus", type=Path, default=corpus.DIRECTORY)
    parser.add_argument("--sampled", type=Path, default=sampled.DIRECTORY)
    parser.add_argument("--checkpoint", type=Path, default=HERE / "data" / "codec.pt", help="exact, of this machine")
    parser.add_argument("--state", type=Path, default=STATE, help="small, to be committed")
    parser.add_argument("--out", type=Path, default=HERE / "models" / "codec")
    parser.add_argument("--metrics", type=Path, default=HERE / "metrics" / "codec.json")
    arguments = parser.parse_args()
    params = yaml.safe_load(arguments.params.read_text(encoding="utf-8"))
    torch.set_num_threads(1)
    corpora, held_out = [], {}
    for name, directory in (("composed", arguments.corpus), ("sampled", arguments.sampled)):
        audio, clips = corpus.load(directory)
        train = sum(not clip["held_out"] for clip in clips)
        corpora.append(audio[:train])
        held_out[name] = audio[train:]
    training = begin(params, corpora, arguments.checkpoint, arguments.state)
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
    saved, sums, summed = time.monotonic(), dict[str, float](), 0
    for parts in training.run():
        sums, summed = {name: sums.get(name, 0.0) + value for name, value in parts.items()}, summed + 1
        if training.step % LOG_EVERY == 0:
            line = " ".join(f"{name} {value / summed:.4f}" for name, value in sums.items())
            print(f"step {training.step} {training.seconds:.0f} s lr {training.learning_rate():.2e} {line}", flush=True)
            sums, summed = {}, 0
        due = time.monotonic() - saved > 60 * params["codec"]["save_minutes"]
        if due or asked or training.step == training.steps:
            saved = time.monotonic()
            codec_state.save(training, arguments.checkpoint)
            codec_state.pack(training, arguments.state)
        if asked:
            raise SystemExit(f"stopped and saved at step {training.step}")
    finish(training, params, held_out, arguments.out, arguments.metrics)


if __name__ == "__main__":
    main()
