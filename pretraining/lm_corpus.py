"""What the shipped language models read: `python -m pretraining.lm_corpus ROUND …` writes `pretraining/data/lm/ROUND/`.

Each round has training clips of its own seeds and the same held-out clips. As in the pipeline, `tokens/prompt` and
`tokens/target` hold the codes of each clip's first seconds and of the rest, each encoded from its own waveform, the latter
with the clip's beat, and `text` the embeddings of the captions. A killed call goes on at its last whole shard. `--workers`
processes compose ahead of the codec, which `--device cuda` puts on a GPU; a code may there be another where two vectors are
equally near but for rounding.
"""

import argparse
import contextlib
import multiprocessing
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

import pretraining  # noqa: F401  (puts this tree's src first)
from musicgen_lite import codec, text
from musicgen_lite.io.arrays import ArrayWriter
from musicgen_lite.io.beats import Beat
from musicgen_lite.io.clips import Clip
from musicgen_lite.io.progress import track
from musicgen_lite.sources import synthetic
from musicgen_lite.text.variants import digest
from pretraining.corpus import PARAMS

DIRECTORY = Path(__file__).parent / "data" / "lm"
BATCH = 16


def seeds(number: int, params: dict[str, Any]) -> dict[str, range]:
    """The seeds of a round, by split."""
    first = params["first_seed"] + number * params["clips"]
    held_out = params["first_held_out"]
    return {
        "train": range(first, first + params["clips"]),
        "validation": range(held_out, held_out + params["held_out"]),
    }


Work = tuple[str, range]  # a split, and seeds of it


def remaining(number: int, params: dict[str, Any], writers: Sequence[ArrayWriter]) -> list[Work]:
    """The clips of a round that are not yet in all of the `writers`, `BATCH` together."""
    batches = [
        (split, range(start, min(start + BATCH, range_.stop)))
        for split, range_ in seeds(number, params).items()
        for start in range(range_.start, range_.stop, BATCH)
    ]
    return [
        (split, some)
        for split, some in batches
        if any(f"syn-{seed:08d}" not in writer for seed in some for writer in writers)
    ]


def compose(work: Work, seconds: float, rate: int) -> list[Clip]:
    split, some = work
    return [synthetic.clip(seed, split, seconds, rate) for seed in some]


def composed(work: list[Work], params: dict[str, Any], pool: Executor | None, ahead: int) -> Iterator[list[Clip]]:
    """The clips of `work` in order; a `pool` composes up to `ahead` batches in advance."""
    if pool is None:
        for one in work:
            yield compose(one, params["seconds"], params["rate"])
        return
    tasks = (pool.submit(compose, one, params["seconds"], params["rate"]) for one in work)
    waiting = deque(islice(tasks, ahead))
    while waiting:
        yield waiting.popleft().result()
        waiting.extend(islice(tasks, 1))


def write(
    number: int,
    params: dict[str, Any],
    codec_name: str,
    directory: Path,
    pool: Executor | None = None,
    ahead: int = 0,
    device: str = "cpu",
) -> None:
    """Compose, tokenize and embed the clips of a round."""
    model = codec.load(codec_name, num_codebooks=params["num_codebooks"], device=device)
    encoder = text.load("embedded", device=device)
    targets = ArrayWriter(directory / "tokens" / "target", "uint16")
    prompts = ArrayWriter(directory / "tokens" / "prompt", "uint16")
    texts = ArrayWriter(directory / "text", "float16")
    cut = round(params["prompt_seconds"] * params["rate"])
    work = remaining(number, params, (targets, prompts, texts))
    for clips in track(composed(work, params, pool, ahead), f"round {number}", len(work), "batch"):
        waves = torch.from_numpy(np.stack([clip.samples for clip in clips]))
        vectors = encoder.encode([clip.caption for clip in clips], params["max_tokens"])
        codes = (model.encode(part).cpu() for part in (waves[:, :cut], waves[:, cut:]))
        coded = zip(clips, *codes, vectors, strict=True)
        for clip, prompt, target, caption in coded:
            beat = Beat(clip.extra["tempo"], clip.extra["beat_s"]).later(params["prompt_seconds"])
            for writer, codes, facts in ((targets, target, beat._asdict()), (prompts, prompt, {})):
                if clip.id not in writer:
                    grid = codes.numpy().T.astype(np.uint16)
                    writer.add(clip.id, grid, split=clip.split, track_id=clip.track_id, **facts)
            if clip.id not in texts:
                texts.add(clip.id, caption, digest=digest(clip.caption))
    for writer in (targets, prompts):
        writer.close(codec.describe(model))
    texts.close(
        {
            "name": encoder.name, "fingerprint": encoder.fingerprint, "dim": encoder.dim,
            "max_tokens": params["max_tokens"], "variants": {"caption": [""]},
        }
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rounds", type=int, nargs="+")
    parser.add_argument("--codec", default="embedded")
    parser.add_argument("--params", type=Path, default=PARAMS)
    parser.add_argument("--out", type=Path, default=DIRECTORY, help="where the rounds' folders lie")
    parser.add_argument("--workers", type=int, default=1, help="processes that compose")
    parser.add_argument("--device", default="cpu", help="of the codec and the text encoder")
    arguments = parser.parse_args()
    params = yaml.safe_load(arguments.params.read_text(encoding="utf-8"))["lm"]["corpus"]
    workers, spawn = arguments.workers, multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=spawn) if workers > 1 else contextlib.nullcontext() as pool:
        for number in arguments.rounds:
            folder = arguments.out / f"{number:02d}"
            write(number, params, arguments.codec, folder, pool, 2 * workers, arguments.device)


if __name__ == "__main__":
    main()
