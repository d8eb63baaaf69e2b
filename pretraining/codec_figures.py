"""Figures of a codec: `python -m pretraining.codec_figures [CODEC ...] [--recordings FOLDER]`.

Each codec (a directory, or a state of the training; today's shipped one by default) is measured on the held-out clips
of both corpora and on the recordings of a folder: the first 30 s of each file, mono, in windows of 10 s.
"""

import argparse
import fnmatch
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor
from transformers import EncodecModel

import pretraining  # noqa: F401  (puts this tree's src first)
from musicgen_lite import audio, weights
from pretraining import codec_state, corpus, losses, sampled
from pretraining.codec_training import FULL_SCALE, build
from pretraining.quantiser import perplexity

WINDOW_S, WINDOWS, SHORTEST_S = 10, 3, 1
SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")


@torch.no_grad()
def evaluate(model: Any, waves: Iterable[np.ndarray], rate: int) -> dict[str, float]:
    """Figures of `model` on clips int16 `[T]`: means over clips, perplexities over all frames, speed by CPU time."""
    sdr, mel, codes, seconds, samples = [], [], [], 0.0, 0
    bandwidth = model.config.target_bandwidths[-1]
    for row in waves:
        wave = torch.from_numpy(row.astype(np.float32) / FULL_SCALE).unsqueeze(0)
        start = time.process_time()
        encoded = model.encode(wave.unsqueeze(1), bandwidth=bandwidth)
        output = model.decode(encoded.audio_codes, encoded.audio_scales).audio_values.squeeze(1)
        seconds += time.process_time() - start
        output = output[:, : wave.shape[1]]
        samples += wave.shape[1]
        sdr.append(losses.si_sdr(output, wave))
        mel.append(losses.metric_mel(output, wave, rate))
        codes.append(encoded.audio_codes[0, 0])
    grid: Tensor = torch.cat(codes, dim=1)
    size = model.config.codebook_size
    figures = {
        "si_sdr_db": float(torch.cat(sdr).mean()),
        "log_mel_l1": float(torch.cat(mel).mean()),
        "times_real_time": samples / rate / seconds,
    }
    for number, row in enumerate(grid):
        figures[f"perplexity_{number}"] = perplexity(row, size)
        figures[f"codes_used_{number}"] = float(len(row.unique()))
    return figures


def windows(path: Path, rate: int) -> list[np.ndarray]:
    """The first 30 s of a recording, int16 `[T]` each of 10 s or what is left, from 1 s on."""
    samples, rate_in = audio.read(path, 0.0, float(WINDOW_S * WINDOWS))
    wave = audio.resample(audio.to_mono(samples), rate_in, rate)
    wave = np.clip(np.round(wave * FULL_SCALE), -32768, 32767).astype(np.int16)
    parts = [wave[start : start + WINDOW_S * rate] for start in range(0, len(wave), WINDOW_S * rate)]
    return [part for number, part in enumerate(parts) if number == 0 or len(part) >= SHORTEST_S * rate]


def load(path: Path) -> EncodecModel:
    """A codec in fp32 from its directory, or from a state that the training packed."""
    if path.is_dir():
        return EncodecModel.from_pretrained(path, dtype=torch.float32).eval()
    about, tensors = codec_state.read(path)
    model = build(about["params"], about["rate"])
    model.load_state_dict(tensors)
    return model.eval()


def show(name: str, figures: dict[str, float], size: int) -> None:
    books = " ".join(
        f"{value:.0f} ({100 * value / size:.0f} %)" for key, value in figures.items() if key.startswith("perplexity")
    )
    print(
        f"{name[:44]:44} SI-SDR {figures['si_sdr_db']:6.2f} dB  log-mel L1 {figures['log_mel_l1']:.3f}  "
        f"perplexity {books}  {figures['times_real_time']:.0f} x real time",
        flush=True,
    )


def measure(model: Any, sets: dict[str, list[np.ndarray]], recordings: dict[str, list[np.ndarray]], rate: int) -> None:
    """Print the figures of `model` on each set of clips and on each recording, and the recordings' medians."""
    size = model.config.codebook_size
    for name, clips in sets.items():
        show(name, evaluate(model, clips, rate), size)
    each = [evaluate(model, parts, rate) for parts in recordings.values()]
    for name, figures in zip(recordings, each, strict=True):
        show("  " + name, figures, size)
    if each:
        whole = evaluate(model, [part for parts in recordings.values() for part in parts], rate)
        median = {key: float(np.median([figures[key] for figures in each])) for key in ("si_sdr_db", "log_mel_l1")}
        show(f"recordings, median of {len(each)}", whole | median, size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("codecs", nargs="*", type=Path, default=[weights.path("codec")])
    parser.add_argument("--recordings", type=Path, help="a folder of audio files")
    parser.add_argument("--skip", nargs="*", default=[], metavar="PATTERN", help="names in it to leave out")
    parser.add_argument("--clips", type=int, default=48, help="held-out clips of each corpus, at most")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rate = yaml.safe_load(corpus.PARAMS.read_text(encoding="utf-8"))["corpus"]["rate"]
    sets = {}
    for name, directory in (("composed", corpus.DIRECTORY), ("sampled", sampled.DIRECTORY)):
        if directory.is_dir():
            waves, about = corpus.load(directory)
            rows = [row for row, clip in enumerate(about) if clip["held_out"]]
            sets[name] = [waves[row] for row in rows[: arguments.clips]]
    files = sorted(arguments.recordings.iterdir()) if arguments.recordings else []
    recordings = {
        path.name: windows(path, rate)
        for path in files
        if path.suffix in SUFFIXES and not any(fnmatch.fnmatch(path.name, pattern) for pattern in arguments.skip)
    }
    for path in arguments.codecs:
        print(path)
        measure(load(path), sets, recordings, rate)


if __name__ == "__main__":
    main()
