"""Frames a second of generation beside transformers' MusicGen: same sizes, same weights, the same number of CPU threads.

`python -m benchmarks.generation` takes about 10 minutes; `--threads 2 --size musicgen-small --frames 50` is MusicGen-small's
size on two threads. Both sample 250 frames of the delay pattern with guidance and top-k;
a measurement of one follows one of the other, and the median of each is shown. Ours holds its weights as float32, bfloat16 or
int8, its keys and values as float32 beside float32 weights and else as bfloat16, and computes in float32; theirs is float32 or bfloat16 throughout. The read limit is what the threads can read from
memory a second, over the bytes of weights and caches that a frame needs. Memory is the most that a process of its own
held while generating, beyond what it held with the model loaded.
"""

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from benchmarks import peer
from musicgen_lite import models
from musicgen_lite.generation import Sampling, generate, prepare
from musicgen_lite.generation.cpu import CpuDecoder
from musicgen_lite.generation.decode import Decoder
from musicgen_lite.models import Conditions, LanguageModel, ModelConfig

TOKENS = 16  # of the caption
SAMPLING = Sampling(top_k=250, guidance=3.0)
SIZES = {"small": (512, 8), "musicgen-small": (1024, 24)}  # d_model and layers
# Our weights, and those of theirs that they are held against.
PAIRS = (
    ("float32", "float32"),
    ("bfloat16", "bfloat16"),
    ("bfloat16", "float32"),
    ("int8", "float32"),
    ("int8", "bfloat16"),
)


def build(pattern: str, frames: int, d_model: int = 512, layers: int = 8) -> LanguageModel:
    """A Model B with seeded random weights and heads of width 64."""
    torch.manual_seed(0)
    config = ModelConfig(
        type="b", pattern=pattern, codebook_size=2048, num_codebooks=4, text_dim=64, d_model=d_model, layers=layers,
        heads=max(1, d_model // 64), max_frames=frames + 4, max_text=TOKENS, max_prompt_frames=1, frame_rate=50.0, rate=16000, codec="-",
        text="-",
    )  # fmt: skip
    return models.build(config).eval()


def processor() -> str:
    """The name that the system has for the processor."""
    with open("/proc/cpuinfo") as info:
        return next((line.split(":")[1].strip() for line in info if line.startswith("model name")), "unknown processor")


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


def megabytes_a_frame(model: LanguageModel, frames: int, rows: int, bytes_a_weight: int) -> float:
    """Weights read in a frame of the delay pattern, and caches at their mean length, float32 beside float32 weights, else 16 bits."""
    tables = model.code_embedding.weight.numel() + sum(p.numel() for p in model.get_submodule("text").parameters())
    weights = sum(p.numel() for p in model.parameters()) - tables
    config = model.config
    cache = 2 * config.layers * config.d_model * (frames / 2 + TOKENS) * rows
    return (weights * bytes_a_weight + cache * (4 if bytes_a_weight == 4 else 2)) / 1e6


def timed(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def ours(model: LanguageModel, items: int, frames: int, decoder: Decoder) -> object:
    conditions = Conditions.from_texts([torch.randn(TOKENS, 64)]).repeat_interleave(items)
    return generate(model, conditions, frames, SAMPLING, range(items), decoder=decoder)


def theirs(model: Any, items: int, frames: int) -> object:
    words = torch.randint(5, 90, (items, TOKENS))
    with torch.no_grad():
        return model.generate(
            input_ids=words, attention_mask=torch.ones_like(words), do_sample=True, top_k=250, guidance_scale=3.0,
            max_new_tokens=frames,
        )  # fmt: skip


def compare(
    size: tuple[int, int], weights: str, peer_dtype: torch.dtype, items: int, frames: int, repeats: int
) -> tuple[float, float]:
    """Frames a second of ours and of theirs, all items counted."""
    model = build("delay", frames, *size)
    other = peer.whole(model, peer_dtype)
    mine = partial(ours, model, items, frames, prepare(model, weights))  # packed before, as theirs is converted
    their = partial(theirs, other, items, frames)
    mine(), their()
    pairs = [(timed(mine), timed(their)) for _ in range(repeats)]
    ours_s, theirs_s = (statistics.median(times) for times in zip(*pairs, strict=True))
    return items * frames / ours_s, items * frames / theirs_s


def _memory(weights: str, items: int, frames: int, answer: Any) -> None:
    """The most memory while generating, in MB beyond that before the model was built; `weights` may be the peer's."""
    torch.set_num_threads(1)
    model = build("delay", frames)
    run: Callable[[], object]
    if weights in ("theirs float32", "theirs bfloat16"):
        run = partial(theirs, peer.whole(model, getattr(torch, weights.removeprefix("theirs "))), items, frames)
        del model
    else:

        def run() -> object:
            return ours(model, items, frames, prepare(model, weights))

    before = process_memory("VmRSS")
    run()
    answer.put((before, process_memory("VmHWM")))


def process_memory(field: str) -> float:
    """MB that this process holds (VmRSS) or held at most (VmHWM)."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith(field))


def show_speed(size: tuple[int, int], frames: int, repeats: int, limit: float) -> None:
    print(f"{'ours':10} {'theirs':10} {'items':>5} {'ours':>8} {'theirs':>8} {'ratio':>6} {'share of read limit':>20}")
    for weights, theirs_are in PAIRS:
        for items in (1, 4):
            mine, their = compare(size, weights, getattr(torch, theirs_are), items, frames, repeats)
            stored = {"float32": 4, "bfloat16": 2, "int8": 1}[weights]
            megabytes = megabytes_a_frame(build("delay", frames, *size), frames, 2 * items, stored)
            share = mine / items * megabytes / 1000 / limit
            line = f"{weights:10} {theirs_are:10} {items:5} {mine:8.1f} {their:8.1f} {mine / their:6.2f} {share:20.0%}"
            print(line, flush=True)


def show_patterns(frames: int) -> None:
    for weights in ("float32", "int8"):
        model = build("interleaved", frames)
        run = partial(ours, model, 1, frames // 4, prepare(model, weights))
        run()
        print(f"interleaved, {weights}, 1 item: {frames // 4 / timed(run):.1f} frames a second", flush=True)


def show_length(size: tuple[int, int], last: int) -> None:
    """Time of a step with few and with many frames behind it."""
    model = build("delay", last + 10, *size)
    conditions = Conditions.from_texts([torch.randn(TOKENS, 64)]).repeat_interleave(2)
    nothing_given = torch.empty(2, 0, 4, dtype=torch.int64)
    for weights, kv_cache in (("float32", "float32"), ("int8", "float32"), ("int8", "bfloat16")):
        decoder = CpuDecoder(model, weights, kv_cache)
        with torch.no_grad():
            state = decoder.start(conditions, last + 10, nothing_given)
        for cache in state.caches:
            cache.keys.normal_(), cache.values.normal_()
        cells, median = torch.zeros(2, 4, dtype=torch.int64), {}
        for frame in (100, last):
            times = []
            for _ in range(30):
                state.step = frame
                times.append(timed(partial(decoder.logits, cells, state)))
            median[frame] = statistics.median(times)
        ratio = median[last] / median[100]
        steps = ", ".join(f"{1000 * s:.2f} ms at frame {frame}" for frame, s in median.items())
        print(f"a step of 2 rows, {decoder.path}: {steps}: ratio {ratio:.2f}", flush=True)


def show_memory(frames: int) -> None:
    context = multiprocessing.get_context("spawn")
    for items in (1, 4):
        for weights in ("float32", "theirs float32", "bfloat16", "theirs bfloat16", "int8"):
            answer = context.SimpleQueue()
            process = context.Process(target=_memory, args=(weights, items, frames, answer))
            process.start()
            before, most = answer.get()
            process.join()
            print(f"memory, {items} items, {weights}: {before:.0f} MB loaded, {most:.0f} MB at most", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=250)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--size", choices=SIZES, default="small")
    given = parser.parse_args()
    alone, limit = read_gb_a_second(1), read_gb_a_second(given.threads)
    flags = [name for name, there in torch.cpu.get_capabilities().items() if there is True and "512" in name]
    print(f"{processor()}; {' '.join(sorted(flags))}")
    print(f"{given.threads} threads read {limit:.1f} GB/s, one alone {alone:.1f}")
    for weights in ("float32", "bfloat16", "int8"):
        print(f"ours, {weights}: {prepare(build('delay', 1, 64, 1), weights).path}")
    show_speed(SIZES[given.size], given.frames, given.repeats, limit)
    show_length(SIZES[given.size], 1400)
    if given.size != "small":
        return
    show_patterns(given.frames)
    show_memory(given.frames)


if __name__ == "__main__":
    main()
