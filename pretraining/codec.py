"""Train the shipped codec: `python -m pretraining.codec`. A killed run goes on from its last checkpoint."""

import argparse
import copy
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor
from transformers import EncodecModel

import pretraining  # noqa: F401  (puts this tree's src first)
from musicgen_lite.store import write_json, write_text
from pretraining import corpus, losses, shipping
from pretraining.codec_training import FULL_SCALE, Training
from pretraining.quantiser import perplexity

HERE = Path(__file__).parent
LOG_EVERY = 100


CARD = """# The shipped codec

A neural audio codec (EnCodec, transformers' `EncodecModel`) for the music that this project composes itself:
{rate} Hz mono to {frame_rate} frames a second of {num_codebooks} codes out of {codebook_size} each, and back.

- Training data: {clips} clips of {seconds:g} s from `musicgen_lite.sources.synthetic`, seeds {first} to {last}
- Held-out data: {held_out} clips of the seeds that follow, never trained on
- Training: {steps} steps, {minutes:.0f} minutes of one CPU thread; `pretraining/params.yaml` holds every parameter
- Rebuild: `dvc repro pretraining/dvc.yaml`
- Weights: fp16, {millions:.2f} M parameters, {megabytes:.2f} MB; sha256 of model.safetensors: {sha256}
- Code commit: filled in when the weights are sealed (`python -m musicgen_lite.weights`)

Figures on the held-out clips, each coded whole from its file in fp16:

| figure | value |
|---|---|
| SI-SDR (means removed, mean over clips) | {si_sdr_db:.2f} dB |
| log-mel L1 (magnitudes; n_fft 1024, hop 256, Hann, 64 mels from 0 Hz to half the rate, natural log, floor 1e-5) | {log_mel_l1:.3f} |
{perplexities}
| encode and decode, one CPU thread | {times_real_time:.0f} times real time |

It has heard that music alone. How well it codes recorded music, speech or singing was not measured.
"""


def without_averages(model: Any) -> Any:
    """A copy of `model` whose codebooks hold fixed values in place of the moving averages that only training needs."""
    model = copy.deepcopy(model)
    for layer in model.quantizer.layers:
        layer.codebook.embed_avg.copy_(layer.codebook.embed)
        layer.codebook.cluster_size.fill_(1.0)
    return model


def card(figures: dict[str, float], params: dict[str, Any], directory: Path) -> str:
    """The model card of the codec in `directory`."""
    data, codec = params["corpus"], params["codec"]
    train, _ = corpus.seeds(data)
    rows = [
        f"| codebook {number}: perplexity, codes used | {figures[f'perplexity_{number}']:.0f}, "
        f"{figures[f'codes_used_{number}']:.0f} of {codec['codebook_size']} |"
        for number in range(codec["num_codebooks"])
    ]
    return CARD.format(
        **(data | codec | figures),
        frame_rate=data["rate"] // math.prod(codec["strides"]),
        first=train[0],
        last=train[-1],
        minutes=figures["train_seconds"] / 60,
        millions=figures["parameters"] / 1e6,
        megabytes=(directory / "model.safetensors").stat().st_size / 1e6,
        sha256=shipping.digest(directory),
        perplexities="\n".join(rows),
    )


@torch.no_grad()
def evaluate(model: Any, audio: np.ndarray, rate: int) -> dict[str, float]:
    """Figures of `model` on clips int16 `[N, T]`: means over clips, perplexities over all frames, speed by CPU time."""
    sdr, mel, codes, seconds = [], [], [], 0.0
    bandwidth = model.config.target_bandwidths[-1]
    for row in audio:
        wave = torch.from_numpy(row.astype(np.float32) / FULL_SCALE).unsqueeze(0)
        start = time.process_time()
        encoded = model.encode(wave.unsqueeze(1), bandwidth=bandwidth)
        output = model.decode(encoded.audio_codes, encoded.audio_scales).audio_values.squeeze(1)
        seconds += time.process_time() - start
        output = output[:, : wave.shape[1]]
        sdr.append(losses.si_sdr(output, wave))
        mel.append(losses.metric_mel(output, wave, rate))
        codes.append(encoded.audio_codes[0, 0])
    grid: Tensor = torch.cat(codes, dim=1)
    size = model.config.codebook_size
    figures = {
        "si_sdr_db": float(torch.cat(sdr).mean()),
        "log_mel_l1": float(torch.cat(mel).mean()),
        "times_real_time": audio.size / rate / seconds,
    }
    for number, row in enumerate(grid):
        figures[f"perplexity_{number}"] = perplexity(row, size)
        figures[f"codes_used_{number}"] = float(len(row.unique()))
    return figures


def finish(training: Training, params: dict[str, Any], held_out: np.ndarray, out: Path, metrics: Path) -> None:
    """Export the averaged weights, and measure what was exported: files, card and metrics."""
    shipping.export(out, without_averages(training.average))
    shipped = EncodecModel.from_pretrained(out, dtype=torch.float32).eval()
    figures = evaluate(shipped, held_out, params["corpus"]["rate"])
    figures["train_seconds"] = round(training.seconds)
    figures["parameters"] = sum(weight.numel() for weight in shipped.parameters())
    write_text(out / "README.md", card(figures, params, out))
    write_json(metrics, {name: round(value, 4) for name, value in figures.items()})
    print(json.dumps(figures), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=HERE / "params.yaml")
    parser.add_argument("--corpus", type=Path, default=corpus.DIRECTORY)
    parser.add_argument("--checkpoint", type=Path, default=HERE / "data" / "codec.pt")
    parser.add_argument("--out", type=Path, default=HERE / "models" / "codec")
    parser.add_argument("--metrics", type=Path, default=HERE / "metrics" / "codec.json")
    arguments = parser.parse_args()
    params = yaml.safe_load(arguments.params.read_text(encoding="utf-8"))
    codec = params["codec"]
    torch.set_num_threads(1)
    audio, clips = corpus.load(arguments.corpus)
    train = sum(not clip["held_out"] for clip in clips)
    training = Training(codec, params["corpus"]["rate"], audio[:train])
    if arguments.checkpoint.is_file():
        training.load(arguments.checkpoint)
    saved, sums = time.monotonic(), dict[str, float]()
    for parts in training.run():
        sums = {name: sums.get(name, 0.0) + value for name, value in parts.items()}
        if training.step % LOG_EVERY == 0:
            line = " ".join(f"{name} {value / LOG_EVERY:.4f}" for name, value in sums.items())
            print(f"step {training.step} {training.seconds:.0f} s lr {training.learning_rate():.2e} {line}", flush=True)
            sums = {}
        if time.monotonic() - saved > 60 * codec["save_minutes"] or training.step == codec["steps"]:
            saved = time.monotonic()
            training.save(arguments.checkpoint)
    finish(training, params, audio[train:], arguments.out, arguments.metrics)


if __name__ == "__main__":
    main()
