"""Frames a second of generation beside transformers' MusicGen: same sizes, same weights, one CPU thread.

`python -m benchmarks.generation` takes about 10 minutes. Both sample 250 frames of the delay pattern with guidance and top-k;
a measurement of one follows one of the other, and the median of each is shown. The read limit is what one thread can
read from memory a second, over the bytes of weights and caches that a frame needs.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from benchmarks import peer
from musicgen_lite import models
from musicgen_lite.generation import Sampling, generate
from musicgen_lite.models import Conditions, LanguageModel, ModelConfig

TOKENS = 16  # of the caption


def build(pattern: str, frames: int, d_model: int = 512, layers: int = 8) -> LanguageModel:
    """A Model B with seeded random weights."""
    torch.manual_seed(0)
    config = ModelConfig(
        type="b", pattern=pattern, codebook_size=2048, num_codebooks=4, text_dim=64, d_model=d_model, layers=layers,
        heads=8, max_frames=frames + 4, max_text=TOKENS, max_prompt_frames=1, frame_rate=50.0, rate=16000, codec="-",
        text="-",
    )  # fmt: skip
    return models.build(config).eval()


def read_gb_a_second(threads: int) -> float:
    """What sums over a gigabyte read a second."""
    block = torch.ones(2**28)
    torch.set_num_threads(threads)
    block.sum()
    times = []
    for _ in range(5):
        start = time.perf_counter()
        block.sum()
        times.append(time.perf_counter() - start)
    return block.numel() * 4 / 1e9 / min(times)


def megabytes_a_frame(model: LanguageModel, frames: int, rows: int, steps: int) -> float:
    """Weights read in a frame, and caches at their mean length."""
    size = next(model.parameters()).element_size()
    tables = model.code_embedding.weight.numel() + model.text.position.weight.numel()
    weights = sum(p.numel() for p in model.parameters()) - tables
    config = model.config
    cache = 2 * config.layers * config.d_model * (frames * steps / 2 + TOKENS) * rows
    return (weights + cache) * size * steps / 1e6


def timed(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def compare(dtype: torch.dtype, items: int, frames: int, repeats: int) -> tuple[float, float]:
    """Frames a second of ours and of theirs, all items counted."""
    model = build("delay", frames)
    theirs = peer.whole(model, dtype)
    model = model.to(dtype)
    told = Conditions.from_texts([torch.randn(TOKENS, 64)]).repeat_interleave(items)
    words = torch.randint(5, 90, (items, TOKENS))
    sampling = Sampling(top_k=250, guidance=3.0)

    def mine() -> object:
        return generate(model, told, frames, sampling, range(items))

    def other() -> object:
        with torch.no_grad():
            return theirs.generate(
                input_ids=words, attention_mask=torch.ones_like(words), do_sample=True, top_k=250, guidance_scale=3.0,
                max_new_tokens=frames,
            )  # fmt: skip

    mine(), other()
    pairs = [(timed(mine), timed(other)) for _ in range(repeats)]
    ours_s, theirs_s = (statistics.median(times) for times in zip(*pairs, strict=True))
    return items * frames / ours_s, items * frames / theirs_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=250)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    limit = read_gb_a_second(given.threads)
    flags = [name for name, there in torch.cpu.get_capabilities().items() if there is True and "512" in name]
    print(f"{given.threads} thread, reads {limit:.1f} GB/s; {' '.join(sorted(flags))}")
    print(f"{'':10} {'items':>5} {'ours':>8} {'transformers':>13} {'ratio':>6} {'share of read limit':>20}")
    for dtype in (torch.float32, torch.bfloat16):
        for items in (1, 4):
            ours, theirs = compare(dtype, items, given.frames, given.repeats)
            model = build("delay", given.frames).to(dtype)
            share = ours / items * megabytes_a_frame(model, given.frames, 2 * items, 1) / 1000 / limit
            name = str(dtype).removeprefix("torch.")
            print(f"{name:10} {items:5} {ours:8.1f} {theirs:13.1f} {ours / theirs:6.2f} {share:20.0%}", flush=True)
    model = build("interleaved", given.frames)
    told = Conditions.from_texts([torch.randn(TOKENS, 64)])
    seconds = timed(lambda: generate(model, told, given.frames // 4, Sampling(top_k=250, guidance=3.0), [0]))
    print(f"{'float32':10} {1:5} {given.frames // 4 / seconds:8.1f}   interleaved")


if __name__ == "__main__":
    main()
