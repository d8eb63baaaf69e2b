"""The stage tokenize beside a loop over files, and its memory with few and with many clips.

`python -m benchmarks.tokenize` takes about 10 minutes. Every clip is 2 s of noise and chords at 44.1 kHz and becomes two windows
of 1 s. The loop reads a FLAC file with soundfile, resamples it with soxr, and calls transformers' `EncodecModel.encode` on one
window after the other, with torch's own number of threads and with one; the stage reads the same audio from shards and also
writes its stores. One run of one follows one of the other; the ratio is the median over the pairs. The real architecture is that of
facebook/encodec_32khz with random weights. Memory is the most that a process of its own held while it made codes of clips of
0.5 s with the shipped codec.
"""

import argparse
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
import torch
from transformers import EncodecModel

from benchmarks.generation import process_memory
from musicgen_lite import codec
from musicgen_lite.codec.tokenizer import Tokenizer
from musicgen_lite.compute import Local, Recipe
from musicgen_lite.io import audio
from musicgen_lite.io.clips import Clip, ClipStore, ClipWriter
from musicgen_lite.io.windows import Windows
from musicgen_lite.pretrained import shipped
from stages.tokenize import tokenize
from tests.support import codec_real

RATE, CODEBOOKS, BATCH = 44100, 4, 32


def write_clips(folder: Path, count: int, seconds: float) -> Path:
    """`count` clips in shards under `folder`, and each as a file of its own in `folder`/files."""
    (folder / "files").mkdir(parents=True)
    writer = ClipWriter(folder)
    random = np.random.default_rng(0)
    chords = codec_real.waves(64, round(seconds * RATE), RATE).numpy()
    for number in range(count):
        noise = random.standard_normal(chords.shape[1], dtype=np.float32)
        wave = chords[number % len(chords)] + np.float32(0.01) * noise
        writer.add(Clip(f"{number:06d}", f"{number:06d}", "train", "Chords.", (), wave, RATE))
        audio.write(folder / "files" / f"{number:06d}.flac", wave, RATE)
    writer.close()
    return folder


@torch.no_grad()
def loop(folder: Path, model: Any) -> list[np.ndarray]:
    """Codes of every window, one file after the other."""
    rate, found = model.config.sampling_rate, []
    for file in sorted((folder / "files").iterdir()):
        samples, own = soundfile.read(file, dtype="float32")
        wave = torch.from_numpy(soxr.resample(samples, own, rate, quality="HQ"))[None, None]
        for window in (wave[..., :rate], wave[..., rate : 2 * rate]):
            codes = model.encode(window, bandwidth=model.config.target_bandwidths[-1]).audio_codes
            found.append(codes[0, 0].numpy().astype(np.uint16))
    return found


def stage(folder: Path, name: str, seconds: float) -> Callable[[], None]:
    """What runs the stage's own function on the clips of `folder`, each cut into two halves."""
    recipe, clips = Recipe(codec.load, name, num_codebooks=CODEBOOKS), ClipStore(folder)
    tokenizer = Tokenizer(recipe, Windows(recipe.model.rate, seconds / 2, seconds), seconds)

    def run() -> None:
        with tempfile.TemporaryDirectory() as out:
            tokenize(Local(), clips, tokenizer, BATCH, Path(out))

    return run


def timed(run: Callable[[], object], threads: int) -> float:
    default = torch.get_num_threads()
    torch.set_num_threads(threads)
    start = time.perf_counter()
    run()
    seconds = time.perf_counter() - start
    torch.set_num_threads(default)
    return seconds


def compare(title: str, name: str, directory: Path, folder: Path, count: int, pairs: int) -> None:
    """Windows a second of the stage and of the loop, with the default number of threads and with one."""
    theirs = EncodecModel.from_pretrained(directory, dtype=torch.float32).eval()
    ours, other, threads = stage(folder, name, 2.0), partial(loop, folder, theirs), torch.get_num_threads()
    # The first round warms up.
    rounds = [(timed(ours, threads), timed(other, threads), timed(other, 1)) for _ in range(pairs + 1)][1:]
    speeds = [2 * count / statistics.median(times) for times in zip(*rounds, strict=True)]
    print(f"{title}, {count} clips: stage {speeds[0]:.1f} windows a second")
    for label, place in ((f"loop, {threads} threads", 1), ("loop, 1 thread", 2)):
        ratios = sorted(times[place] / times[0] for times in rounds)
        print(
            f"  {label}: {speeds[place]:.1f}; ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f} "
            f"in {pairs} pairs)",
            flush=True,
        )


def _memory(folder: Path, answer: Any) -> None:
    stage(folder, "embedded", 0.5)()
    answer.put(process_memory("VmHWM"))


def show_memory(place: Path, counts: list[int]) -> None:
    context = multiprocessing.get_context("spawn")
    for count in counts:
        folder = write_clips(place / f"clips-{count}", count, 0.5)
        answer = context.SimpleQueue()
        process = context.Process(target=_memory, args=(folder, answer))
        process.start()
        print(f"memory, {count} clips: {answer.get():.0f} MB at most", flush=True)
        process.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=128, help="of the shipped codec; an eighth of the real one")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--memory", type=int, nargs="*", default=[1000, 10000], help="numbers of clips; none skips it")
    given = parser.parse_args()
    print(f"{torch.get_num_threads()} threads")
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        few = max(1, given.clips // 8)
        compare(
            "shipped codec", "embedded", shipped.path("codec"), write_clips(place / "many", given.clips, 2.0), given.clips,
            given.pairs,
        )  # fmt: skip
        codec_real.model(32000, CODEBOOKS).save_pretrained(place / "real")
        compare(
            "32 kHz codec", str(place / "real"), place / "real", write_clips(place / "few", few, 2.0), few, given.pairs
        )
        show_memory(place, given.memory)


if __name__ == "__main__":
    main()
