"""What a corpus of many clips costs to open: `python -m benchmarks.scale 1000 10000 100000 1000000`.

Each corpus is an index of that many clips with codes of a few frames and one caption each, written for this. Times are
seconds of CPU time, on one thread, in a process of its own; memory is the peak of that process beyond its imports, in MB. DVC's digest is that of all
files of the corpus, as `dvc commit` computes it.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from musicgen_lite.io.arrays import ArrayWriter
from musicgen_lite.io.progress import track

FRAMES, CODEBOOKS, DIM = 8, 4, 8
CODEC = {
    "fingerprint": "made",
    "codebook_size": 512,
    "num_codebooks": CODEBOOKS,
    "frame_rate": 50.0,
    "rate": 16000,
    "name": "made",
}
TEXT = {"fingerprint": "made", "dim": DIM, "max_tokens": 4, "variants": {"caption": [""]}, "name": "made"}
COLUMNS = (
    "clips",
    "files",
    "MB",
    "open s",
    "first batch s",
    "shuffle s",
    "splits s",
    "identity s",
    "memory MB",
    "DVC's digest s",
)


def make(count: int, place: Path) -> None:
    """A corpus of `count` clips, a tenth of them for validation."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 512, (1024, FRAMES, CODEBOOKS)).astype(np.uint16)
    vectors = rng.standard_normal((1024, 3, DIM)).astype(np.float16)
    stores = {name: ArrayWriter(place / "tokens" / name, "uint16") for name in ("prompt", "target")}
    captions = ArrayWriter(place / "text", "float16")
    for number in track(range(count), f"{count} clips", unit="clip"):
        key, one = f"track-{number // 10:07d}-{number % 10}", number % 1024
        split = "train" if number % 10 else "validation"
        for name, store in stores.items():
            beat = {"bpm": 120.0, "beat_s": 0.25} if name == "target" else {}
            store.add(key, codes[one], split=split, track_id=key[:-2], **beat)
        captions.add(key, vectors[one], digest=f"{one:016x}")
    for store in stores.values():
        store.close(CODEC)
    captions.close(TEXT)


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    start = time.process_time()
    return call(), time.process_time() - start


def measure(place: Path) -> dict[str, float]:
    """Open the corpus at `place` and take its first batch, in this process."""
    from musicgen_lite.training.corpus import Corpus
    from musicgen_lite.training.dataset import TokenDataset
    from musicgen_lite.training.sampler import EpochSampler

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    corpus, opened = timed(lambda: Corpus(place / "tokens", place / "text"))
    splits, split_s = timed(lambda: [corpus.clips(name) for name in ("train", "validation")])
    sampler, dataset = EpochSampler(splits[0], seed=0), TokenDataset(corpus, FRAMES, 0, 0.1, 0.1, 0.1)
    _, shuffle_s = timed(lambda: sampler.step(0, 32))
    _, batch_s = timed(lambda: dataset.batch(sampler.step(1, 32)))
    _, identity_s = timed(corpus.facts)
    return {
        "open s": opened, "first batch s": batch_s, "shuffle s": shuffle_s, "splits s": split_s, "identity s": identity_s,
        "memory MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3 - before,
    }  # fmt: skip


def digest(place: Path) -> float:
    """Seconds in which DVC computes the digest of a directory of outputs that it has not seen."""
    from dvc_data.hashfile.build import build
    from dvc_data.hashfile.db import HashFileDB
    from dvc_objects.fs.local import LocalFileSystem

    system = LocalFileSystem()
    _, seconds = timed(
        lambda: build(HashFileDB(system, str(place.parent / "cache")), str(place), system, "md5", dry_run=True)
    )
    return float(seconds)


def row(count: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary) / "corpus"
        make(count, place)
        files = [file for file in place.rglob("*") if file.is_file()]
        command = [sys.executable, "-m", "benchmarks.scale", "--open", str(place)]
        found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        size = sum(file.stat().st_size for file in files) / 1e6
        return {"clips": count, "files": len(files), "MB": size, **found, "DVC's digest s": digest(place)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=int, nargs="*")
    parser.add_argument("--open", type=Path, help="measure the corpus at this place alone, and print JSON")
    arguments = parser.parse_args()
    if arguments.open:
        print(json.dumps(measure(arguments.open)))
        return
    rows = [row(count) for count in arguments.clips]
    print(f"{os.cpu_count()} cores", "| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS), sep="\n")
    for one in rows:
        print(
            "| "
            + " | ".join(f"{one[name]:,.0f}" if name in COLUMNS[:3] else f"{one[name]:.3g}" for name in COLUMNS)
            + " |"
        )


if __name__ == "__main__":
    main()
