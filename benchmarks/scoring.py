"""What scoring costs: 100 clips of 10 s with four candidates each, stage by stage, and memory as clips grow.

`python -m benchmarks.scoring` takes about 5 minutes on two threads. Composed music stands for the generated clips; embedders,
codec, bootstrap and all scores are those of the embedded default. `--memory N` measures one size in its own process.
"""

import argparse
import contextlib
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from musicgen_lite import codec
from musicgen_lite.clap import load as load_clap
from musicgen_lite.device import set_threads
from musicgen_lite.scoring.audio import chroma, fad, kad, signals
from musicgen_lite.scoring.audio.distances import noise_like
from musicgen_lite.scoring.audio.embedders import Embedders
from musicgen_lite.scoring.audio.scores import score_generated, score_reference
from musicgen_lite.scoring.audio.sets import (
    ClipSet,
    GeneratedSet,
    ReferenceClips,
    as_noise,
    embed_reference,
    reconstructed,
)
from musicgen_lite.scoring.statistics.intervals import Bootstrap
from musicgen_lite.sources import synthetic

FIRST, TRACKS, RATE = 92_000_000, 48, 16000  # composing is no part of scoring: few pieces are turned into many clips


@lru_cache(maxsize=TRACKS)
def piece(number: int, seconds: float) -> Any:
    return synthetic.clip(FIRST + number, "test", seconds)


def read(clip: str, seconds: float, noise: float = 0.0) -> tuple[np.ndarray, int]:
    """The clip of a name that ends with a number: one of the pieces, shifted in time, so that no two are alike."""
    number = int(clip[1:])
    wave = np.roll(piece(number % TRACKS, seconds).samples, 1601 * (number // TRACKS))
    return wave + np.float32(noise) * noise_like(wave, number), RATE


class Clock:
    """Seconds spent in named calls, each counted apart from the calls inside it."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._open: list[float] = []

    def wrap(self, owner: Any, name: str, label: str) -> None:
        """Count the time of a function or method under a label."""
        inner: Callable[..., Any] = getattr(owner, name)

        def timed(*args: Any, **named: Any) -> Any:
            with self.part(label):
                return inner(*args, **named)

        setattr(owner, name, timed)

    @contextlib.contextmanager
    def part(self, label: str) -> Iterator[None]:
        start = time.perf_counter()
        self._open.append(0.0)
        try:
            yield
        finally:
            whole = time.perf_counter() - start
            self.seconds[label] += whole - self._open.pop()
            if self._open:
                self._open[-1] += whole


def score(clips: int, seconds: float, candidates: int, bootstrap: int, training: int, clock: Clock) -> None:
    """The reference stage and the audio scores of samples with audio prompts."""
    scorer, judge, decoder = load_clap("embedded"), load_clap("judge"), codec.load("embedded", num_codebooks=4)
    embedders = Embedders(scorer, decoder, judge)
    for number in range(TRACKS):
        piece(number, seconds), piece(number, 3.0)
    ids = [f"c{i}" for i in range(clips)]
    captions = {clip: piece(int(clip[1:]) % TRACKS, seconds).caption for clip in ids}
    for embedder in embedders.spaces:
        clock.wrap(embedder, "embed", f"embed: {embedder.name}")
    clock.wrap(scorer, "embed_clip", "embed: clap")
    clock.wrap(judge, "embed_clip", "embed: judge")
    clock.wrap(decoder, "decode", "reconstruct")
    clock.wrap(decoder, "encode", "reconstruct")
    clock.wrap(fad, "replicates", "bootstrap: FAD")
    clock.wrap(kad, "distances", "KAD and its bootstrap")
    clock.wrap(fad, "infinity", "FAD-infinity")
    clock.wrap(fad, "per_clip", "FAD by clip")
    clock.wrap(signals, "_rhythm", "pulse and tempo")
    clock.wrap(signals, "estimate_key", "key")
    clock.wrap(chroma, "profile", "chroma")
    with clock.part("everything else"):
        clean = lambda clip: read(clip, seconds)  # noqa: E731
        real, prompts = ClipSet(ids, clean), ClipSet(ids, lambda clip: read(clip, 3.0))
        reference, tracks = ClipSet([f"r{i + clips}" for i in range(clips)], clean), {clip: clip for clip in ids}
        sets_of_clips = ReferenceClips(
            captions, tracks, reference, real, reconstructed(real, decoder), as_noise(real, 0), prompts,
            training=ClipSet([f"t{i + 2 * clips}" for i in range(training)], clean),
        )  # fmt: skip
        sets, resampling = embed_reference(sets_of_clips, embedders), Bootstrap(bootstrap)
        score_reference(sets_of_clips, sets, scorer, resampling)
        made = GeneratedSet(
            captions, tracks, dict.fromkeys(ids, 0), candidates, lambda clip, k: read(clip, seconds, 0.02 * (k + 1)), prompts
        )  # fmt: skip
        score_generated(made, sets, embedders, resampling)


def peak_mb() -> float:
    """Most resident memory of this process so far; what a parent process had is not in it."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return float(line.split()[1]) / 1024


def cost(clips: int, seconds: float, candidates: int) -> None:
    clock, start = Clock(), time.perf_counter()
    score(clips, seconds, candidates, 2000, 1000, clock)
    scoring = sum(clock.seconds.values())
    print(f"{clips} prompts, {candidates} candidates of {seconds:g} s each, reference sets and 1,000 training clips:")
    for label, spent in sorted(clock.seconds.items(), key=lambda pair: -pair[1]):
        print(f"  {label:24} {spent:7.1f} s {spent / scoring:6.1%}")
    print(f"  {'scoring':24} {scoring:7.1f} s; with loading and composing {time.perf_counter() - start:.1f} s")
    print(f"  peak memory {peak_mb():.0f} MB", flush=True)


def memory(sizes: Sequence[int], seconds: float) -> None:
    """Peak memory by number of prompts, each in a process of its own; audio alone would take `clips x 5` waveforms."""
    for size in sizes:
        command = [sys.executable, "-m", "benchmarks.scoring", "--memory", str(size), "--seconds", str(seconds)]
        peak = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])
        held = size * 6 * seconds * RATE * 4 / 2**20
        print(f"  {size:5} prompts: peak {peak:6.0f} MB; the clips' waveforms together are {held:6.0f} MB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--candidates", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", type=int)
    given = parser.parse_args()
    set_threads(given.threads)
    if given.memory:
        score(given.memory, given.seconds, 1, 100, given.memory, Clock())
        print(peak_mb())
        return
    cost(given.clips, given.seconds, given.candidates)
    print("memory, one candidate a prompt:")
    memory((25, 50, 100, 200), given.seconds / 2)


if __name__ == "__main__":
    main()
