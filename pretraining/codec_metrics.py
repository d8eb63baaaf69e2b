"""Metrics of a codec: `python -m pretraining.codec_metrics [CODEC ...] [--recordings FOLDER]`.

Each codec (a directory, or a state of the training; today's shipped one by default) is measured on the held-out clips
of both corpora and on the recordings of a folder: the first 30 s of each file, mono, in windows of 10 s.
"""

import argparse
import fnmatch
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor
from transformers import EncodecModel

import pretraining  # noqa: F401  (puts this tree's src first)
from musicgen_lite.io import audio
from musicgen_lite.pretrained import shipped
from pretraining import codec_state, corpus, losses, sampled
from pretraining.codec_training import FULL_SCALE, build
from pretraining.quantiser import perplexity

WINDOW_S, WINDOWS, SHORTEST_S = 10, 3, 1
SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")


@dataclass(frozen=True)
class Coded:
    """What one clip became: SI-SDR in dB, log-mel L1, codes `[N_q, frames]`, its seconds and those of CPU time."""

    si_sdr: float
    log_mel: float
    codes: Tensor
    seconds: float
    cpu_seconds: float


@torch.no_grad()
def code(model: Any, wave: np.ndarray, rate: int) -> Coded:
    """Encode and decode one clip int16 `[T]`."""
    target = torch.from_numpy(wave.astype(np.float32) / FULL_SCALE).unsqueeze(0)
    start = time.process_time()
    encoded = model.encode(target.unsqueeze(1), bandwidth=model.config.target_bandwidths[-1])
    output = model.decode(encoded.audio_codes, encoded.audio_scales).audio_values.squeeze(1)
    spent = time.process_time() - start
    output = output[:, : len(wave)]
    sdr, mel = losses.si_sdr(output, target), losses.metric_mel(output, target, rate)
    return Coded(float(sdr), float(mel), encoded.audio_codes[0, 0], len(wave) / rate, spent)


def summarise(clips: Sequence[Coded], size: int) -> dict[str, float]:
    """Means over clips, perplexities over all of their frames, speed."""
    scores = {
        "si_sdr_db": float(np.mean([clip.si_sdr for clip in clips])),
        "log_mel_l1": float(np.mean([clip.log_mel for clip in clips])),
        "times_real_time": sum(clip.seconds for clip in clips) / sum(clip.cpu_seconds for clip in clips),
    }
    for number, row in enumerate(torch.cat([clip.codes for clip in clips], dim=1)):
        scores[f"perplexity_{number}"] = perplexity(row, size)
        scores[f"codes_used_{number}"] = float(len(row.unique()))
    return scores


def evaluate(model: Any, waves: Iterable[np.ndarray], rate: int) -> dict[str, float]:
    """Figures of `model`, an EncodecModel with codebooks of one size, on clips int16 `[T]`."""
    return summarise([code(model, wave, rate) for wave in waves], model.config.codebook_size)


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


def show(name: str, scores: dict[str, float], size: int) -> None:
    books = " ".join(
        f"{value:.0f} ({100 * value / size:.0f} %)" for key, value in scores.items() if key.startswith("perplexity")
    )
    print(
        f"{name[:44]:44} SI-SDR {scores['si_sdr_db']:6.2f} dB  log-mel L1 {scores['log_mel_l1']:.3f}  "
        f"perplexity {books}  {scores['times_real_time']:.0f} x real time",
        flush=True,
    )


def measure(model: Any, sets: dict[str, list[np.ndarray]], recordings: dict[str, list[np.ndarray]], rate: int) -> None:
    """Print the scores of `model` on each set of clips and on each recording, and the recordings' medians."""
    size = model.config.codebook_size
    for name, clips in sets.items():
        show(name, evaluate(model, clips, rate), size)
    each = {name: [code(model, part, rate) for part in parts] for name, parts in recordings.items()}
    summaries = {name: summarise(clips, size) for name, clips in each.items()}
    for name, scores in summaries.items():
        show("  " + name, scores, size)
    if each:
        whole = summarise([clip for clips in each.values() for clip in clips], size)
        for key in ("si_sdr_db", "log_mel_l1"):
            whole[key] = float(np.median([scores[key] for scores in summaries.values()]))
        show(f"recordings, median of {len(each)}", whole, size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("codecs", nargs="*", type=Path, default=[shipped.path("codec")])
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
        print(path, flush=True)
        measure(load(path), sets, recordings, rate)


if __name__ == "__main__":
    main()
