"""The engine on Ray beside one process: throughput, cost of a piece, memory over time, and five kills.

`python -m benchmarks.ray_engine` tokenizes 2,000 clips of 2 s with the shipped codec, 32 to a piece, and embeds them in the
spaces of the scores, 4 to a piece: in this process, then on a Ray of two nodes that are both on this machine, one CPU and one
thread each, with one worker, with two, and with two of which five are killed at random moments, at the fourth of them a whole
node. Codes and embeddings must be the same each time. Starting Ray and its workers is timed apart: a first piece is computed
before the clock starts.
"""

import argparse
import hashlib
import os
import random
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from musicgen_lite import clap, codec
from musicgen_lite.codec.tokenizer import Tokenizer
from musicgen_lite.compute import Engine, Local, Recipe
from musicgen_lite.device import set_threads
from musicgen_lite.io.clips import Clip, ClipStore, ClipWriter
from musicgen_lite.io.windows import Windows
from musicgen_lite.scoring.audio.embeddings import embed
from musicgen_lite.scoring.audio.spread import CLIPS_TOGETHER, spread
from stages.tokenize import tokenize
from tests.support import codec_real, ray_works
from tests.support.ray_works import Counting, Doubled

RATE, SECONDS, KILLS = 16000, 2.0, 5
MB = 2**20


@dataclass(frozen=True)
class Job:
    """What is done with a folder of clips, `together` to a piece; gives a digest of the results, which it may leave in `out`."""

    name: str
    together: int
    run: Callable[[Engine, ClipStore, Path], str]


def tokenized(engine: Engine, clips: ClipStore, out: Path) -> str:
    recipe = Recipe(codec.load, "embedded", num_codebooks=4)
    tokenizer = Tokenizer(recipe, Windows(recipe.model.rate, SECONDS / 2, SECONDS), SECONDS)
    tokenize(engine, clips, tokenizer, TOKENIZE.together, out)
    files = sorted(file for file in out.rglob("*") if file.is_file())
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def embedded(engine: Engine, clips: ClipStore, out: Path) -> str:
    embedders = spread(engine, Recipe(clap.load, "embedded"), Recipe(codec.load, "embedded", num_codebooks=4))
    items = ((one.id, one.samples, one.rate) for one in clips)
    found = embed(items, embedders.spaces, "clips", vectors=embedders.vectors)
    return hashlib.sha256(b"".join(one.rows.tobytes() for one in found.values())).hexdigest()


TOKENIZE, SCORE = Job("tokenize", 32, tokenized), Job("embed for scores", CLIPS_TOGETHER, embedded)


@dataclass
class Memory:
    """Resident MB of this process and of the largest worker, over the time of a run."""

    driver: list[float] = field(default_factory=list)
    worker: list[float] = field(default_factory=list)

    def shown(self, values: list[float]) -> str:
        """The most in the second tenth of the time, and the most in the last tenth."""
        tenth = len(values) // 10
        return f"{max(values[tenth : 2 * tenth]):.0f}, {max(values[-tenth:]):.0f}" if tenth and max(values) else ""


def resident(process: int) -> float:
    """MB; 0 for a process that is gone."""
    try:
        return float(psutil.Process(process).memory_info().rss) / 1e6
    except psutil.Error:
        return 0.0


@contextmanager
def watched(counting: Counting | None = None, kills: int = 0, pieces: int = 1, node: Any = None) -> Iterator[Memory]:
    """Notes memory in a thread, and kills workers at random moments: `kills` in all, the last but one with its `node`."""
    memory, end = Memory(), threading.Event()
    due = sorted(random.Random(0).sample(range(2, pieces - 4), kills)) if kills else []

    def watch() -> None:
        while not end.wait(0.1):
            calls = counting.calls()[1:] if counting else []
            memory.driver.append(resident(os.getpid()))
            memory.worker.append(max((resident(process) for process in {call[0] for call in calls[-4:]}), default=0.0))
            if due and len(calls) > due[0]:
                due.pop(0)
                kill(calls[-1][0])

    def kill(process: int) -> None:
        if len(due) == 1 and node is not None:
            node()
        elif psutil.pid_exists(process):
            os.kill(process, signal.SIGKILL)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield memory
    finally:
        end.set()
        thread.join()


@dataclass(frozen=True)
class Run:
    """start_s: until the first piece is there; seconds: for all pieces."""

    start_s: float
    seconds: float
    digest: str
    memory: Memory


def measure(engine: Engine, job: Job, folder: Path, out: Path, watching: Any) -> Run:
    """Run a job on all clips, after a first piece."""
    begun = time.perf_counter()
    job.run(engine, ClipStore(folder / job.name), out / "first")
    start = time.perf_counter()
    with watching as memory:
        digest = job.run(engine, ClipStore(folder / "all"), out / "all")
    return Run(start - begun, time.perf_counter() - start, digest, memory)


def write_clips(folder: Path, count: int) -> None:
    folder.mkdir()
    writer, noise = ClipWriter(folder), np.random.default_rng(0)
    chords = codec_real.waves(64, round(SECONDS * RATE), RATE).numpy()
    for number in range(count):
        wave = chords[number % 64] + np.float32(0.01) * noise.standard_normal(chords.shape[1], dtype=np.float32)
        writer.add(Clip(f"{number:06d}", f"{number:06d}", "train", "Chords.", (), wave, RATE))
    writer.close()


@contextmanager
def two_nodes() -> Iterator[Any]:
    """A Ray of two nodes on this machine, one CPU each."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1, resources={"second": 1})
    try:
        yield cluster
    finally:
        cluster.shutdown()


def on_ray(job: Job, folder: Path, out: Path, count: int, workers: int, kills: int, local: Run) -> str:
    """A row of the table; AssertionError where results differ, or more was computed again than was in flight."""
    from musicgen_lite.compute.on_ray import OnRay

    pieces = -(-count // job.together)
    with two_nodes() as cluster:
        engine = OnRay("cpu", cluster.address, workers, threads=1)
        counting = Counting(engine, out.with_suffix(".calls"))

        def end_node() -> None:
            cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)

        run = measure(counting, job, folder, out, watched(counting, kills, pieces, end_node))
        engine.close()
    assert run.digest == local.digest, "other results than in one process"
    calls = Counter(piece for _, _, piece in counting.calls()[1:])
    assert len(calls) == pieces
    again = sum(calls.values()) - pieces
    assert max(calls.values()) <= 1 + kills
    assert again <= 2 * kills
    label = f"{job.name}, Ray, {workers} worker{'s' if workers > 1 else ''}"
    return row(label + (f", {kills} kills" if kills else ""), count, run, pieces, str(again))


def row(label: str, count: int, run: Run, pieces: int, again: str = "") -> str:
    memory = run.memory
    cells = [
        label, f"{count / run.seconds:.1f}", f"{run.start_s:.1f}", str(pieces), again, memory.shown(memory.driver),
        memory.shown(memory.worker),
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def empty_pieces() -> str:
    """What a piece costs that has no work, and one with 1 MiB to send and 2 to give back, on one warm worker."""
    from musicgen_lite.compute.on_ray import OnRay

    with two_nodes() as cluster:
        engine, said = OnRay("cpu", cluster.address, workers=1, threads=1), list[str]()
        for what, piece, count in (("without any work", 1, 1000), ("of 1 MiB, with 2 MiB as result", bytes(MB), 200)):
            list(engine.map(Doubled(), [piece]))
            begun = time.perf_counter()
            assert len(list(engine.map(Doubled(), [piece] * count))) == count
            said.append(f"a piece {what}: {1000 * (time.perf_counter() - begun) / count:.2f} ms")
        engine.close()
    return "; ".join(said)


def main(count: int, jobs: list[Job]) -> None:
    import ray

    from musicgen_lite.compute.on_ray import OWN_RAY

    os.environ.update(OWN_RAY | os.environ)
    set_threads(1)
    ray.cloudpickle.register_pickle_by_value(ray_works)
    columns = [
        "",
        "clips a second",
        "start, s",
        "pieces",
        "computed again",
        "driver, MB",
        "worker, MB",
    ]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_clips(folder / "all", count)
        for job in jobs:
            write_clips(folder / job.name, job.together)
            local = measure(Local(), job, folder, folder / f"{job.name}-local", watched())
            print(row(f"{job.name}, local", count, local, -(-count // job.together)), flush=True)
            for workers, kills in ((1, 0), (2, 0), (2, KILLS)):
                out = folder / f"{job.name}-{workers}-{kills}"
                print(on_ray(job, folder, out, count, workers, kills, local), flush=True)
    print(f"{empty_pieces()}; all of it took {time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=2000)
    parser.add_argument("--jobs", nargs="+", choices=[TOKENIZE.name, SCORE.name], default=[TOKENIZE.name, SCORE.name])
    given = parser.parse_args()
    main(given.clips, [job for job in (TOKENIZE, SCORE) if job.name in given.jobs])
