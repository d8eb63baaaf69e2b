"""The engine on Ray beside one process: throughput, cost of a piece, memory, and five kills.

`python -m benchmarks.ray_engine` tokenizes 2,000 clips of 2 s with the shipped codec, 32 to a piece, on a Ray of two nodes that
are both on this machine, one CPU and one thread each: in one process, with one worker, with two, and with two of which
five are killed at random moments, a whole node among them. Codes must be the same each time. Starting Ray and its workers is
timed apart: a first piece is computed before the clock starts.
"""

import argparse
import os
import random
import signal
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import torch

from musicgen_lite import codec
from musicgen_lite.codec.tokenizer import Tokenizer
from musicgen_lite.compute import Engine, Local, Recipe
from musicgen_lite.io.clips import Clip, ClipStore, ClipWriter
from musicgen_lite.io.windows import Windows
from stages.tokenize import tokenize
from tests.support import codec_real, ray_works
from tests.support.ray_works import Counting, Doubled

RATE, BATCH, SECONDS = 16000, 32, 2.0


@dataclass(frozen=True)
class Run:
    """start_s: until the first piece is there; seconds: for all; memory in MB: the most of this process and of a worker."""

    start_s: float
    seconds: float
    driver: float
    worker: float
    digest: bytes


def write_clips(folder: Path, count: int) -> Path:
    folder.mkdir()
    writer, noise = ClipWriter(folder), np.random.default_rng(0)
    chords = codec_real.waves(64, round(SECONDS * RATE), RATE).numpy()
    for number in range(count):
        wave = chords[number % 64] + np.float32(0.01) * noise.standard_normal(chords.shape[1], dtype=np.float32)
        writer.add(Clip(f"{number:06d}", f"{number:06d}", "train", "Chords.", (), wave, RATE))
    writer.close()
    return folder


def memory(process: psutil.Process) -> float:
    """Resident MB; 0 for a process that is gone."""
    try:
        return float(process.memory_info().rss) / 1e6
    except psutil.Error:
        return 0.0


def measure(engine: Engine, tokenizer: Tokenizer, folder: Path, out: Path, workers: "Workers") -> Run:
    """Tokenize all clips, after a first corpus of one piece."""
    begun = time.perf_counter()
    tokenize(engine, ClipStore(folder / "first"), tokenizer, BATCH, out / "first")
    start = time.perf_counter()
    with workers:
        tokenize(engine, ClipStore(folder / "all"), tokenizer, BATCH, out / "all")
    seconds = time.perf_counter() - start
    files = sorted(file for file in (out / "all").rglob("*") if file.is_file())
    return Run(start - begun, seconds, workers.driver, workers.worker, b"".join(file.read_bytes() for file in files))


class Workers:
    """Watches memory in a thread, and kills a worker, or with it `node`, at random moments; `kills` of them in all."""

    def __init__(self, counting: Counting | None = None, kills: int = 0, pieces: int = 1, node: object = None) -> None:
        self.driver = self.worker = 0.0
        self._counting, self._node, self._end = counting, node, threading.Event()
        chance = random.Random(0)
        self._due = sorted(chance.sample(range(2, pieces - 4), kills)) if kills else []

    def __enter__(self) -> None:
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        own = psutil.Process()
        while not self._end.wait(0.05):
            self.driver = max(self.driver, memory(own))
            calls = self._counting.calls() if self._counting else []
            for process in {call[0] for call in calls[-4:]}:
                if psutil.pid_exists(process):
                    self.worker = max(self.worker, memory(psutil.Process(process)))
            if self._due and len(calls) > self._due[0]:
                self._kill(calls[-1][0])

    def _kill(self, process: int) -> None:
        self._due.pop(0)
        if len(self._due) == 1 and self._node is not None:  # the last but one
            self._node.remove()  # type: ignore[attr-defined]
        elif psutil.pid_exists(process):
            os.kill(process, signal.SIGKILL)


@dataclass(frozen=True)
class SecondNode:
    """A node of a cluster that can be killed."""

    cluster: object

    def remove(self) -> None:
        node = self.cluster.worker_nodes.copy().pop()  # type: ignore[attr-defined]
        self.cluster.remove_node(node, allow_graceful=False)  # type: ignore[attr-defined]


def main(count: int) -> None:
    import ray
    from ray.cluster_utils import Cluster

    from musicgen_lite.compute.on_ray import OWN_RAY, OnRay

    os.environ.update(OWN_RAY | os.environ)
    torch.set_num_threads(1)
    ray.cloudpickle.register_pickle_by_value(ray_works)
    recipe = Recipe(codec.load, "embedded", num_codebooks=4)
    tokenizer = Tokenizer(recipe, Windows(recipe.model.rate, SECONDS / 2, SECONDS), SECONDS)
    pieces = -(-count // BATCH)
    print(
        f"| | clips a second | start, s | a piece beside local, ms | driver, MB | worker, MB | calls for {pieces} pieces |"
    )
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_clips(folder / "all", count)
        write_clips(folder / "first", BATCH)
        local = measure(Local(), tokenizer, folder, folder / "local", Workers())
        print(
            f"| local | {count / local.seconds:.1f} | {local.start_s:.1f} | | {local.driver:.0f} | | {pieces} |",
            flush=True,
        )
        for workers, kills in ((1, 0), (2, 0), (2, 5)):
            cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
            cluster.add_node(num_cpus=1, resources={"second": 1})
            engine = OnRay("cpu", cluster.address, workers, threads=1)
            name = f"ray-{workers}-{kills}"
            counting = Counting(engine, folder / f"{name}.calls")
            watch = Workers(counting, kills, pieces, SecondNode(cluster))
            run = measure(counting, tokenizer, folder, folder / name, watch)
            assert run.digest == local.digest, "other bytes than in one process"
            calls = Counter(piece for _, _, piece in counting.calls()[1:])
            assert len(calls) == pieces
            assert max(calls.values()) <= 1 + kills
            beside = 1000 * (run.seconds * workers - local.seconds) / pieces
            label = f"Ray, {workers} worker(s)" + (f", {kills} kills" if kills else "")
            print(
                f"| {label} | {count / run.seconds:.1f} | {run.start_s:.1f} | {beside:.0f} | {run.driver:.0f} | "
                f"{run.worker:.0f} | {sum(calls.values())} |", flush=True,
            )  # fmt: skip
            if workers == 1:
                begun = time.perf_counter()
                assert list(engine.map(Doubled(), range(1000)))[-1] == 1998
                nothing = (
                    f"1,000 pieces without any work, one worker's start included: {time.perf_counter() - begun:.1f} s"
                )
            engine.close()
            cluster.shutdown()
    print(nothing)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=2000)
    main(parser.parse_args().clips)
