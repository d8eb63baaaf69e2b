"""What is measured on a GPU: generation and training beside transformers' MusicGen, and what the device could do at most."""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import peer
from benchmarks.generation import SAMPLING, TOKENS, build, megabytes_a_frame
from benchmarks.training import pair
from musicgen_lite.errors import first_line
from musicgen_lite.generation import generate
from musicgen_lite.generation.static import StaticDecoder
from musicgen_lite.models import Conditions

Row = tuple[str, str]  # what was measured, and the result


@dataclass(frozen=True)
class Size:
    """A model, and how much of what it does is measured; limits: of the arrays that show what the device can do."""

    d_model: int
    layers: int
    frames: int
    items: tuple[int, ...]
    clips: int
    repeats: int
    limits: int


# MusicGen-small's, but for its 16 heads, and one to try the path itself with.
SIZES = {"cuda": Size(1024, 24, 500, (1, 32), 16, 3, 2**14), "cpu": Size(32, 2, 12, (1, 2), 2, 1, 2**8)}


def median_s(run: Callable[[], object], device: str, repeats: int) -> float:
    """Seconds of a run, after one that warms up, with all that it started on the device."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        run()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def limits(device: str, size: Size) -> tuple[float, float]:
    """GB that the device reads a second, and the TFLOP/s of its bfloat16 products."""
    block = torch.ones(size.limits, size.limits, dtype=torch.bfloat16, device=device)
    read = block.nbytes / 1e9 / median_s(block.sum, device, 5)
    return read, 2 * size.limits**3 / 1e12 / median_s(partial(torch.matmul, block, block), device, 5)


def generation(device: str, size: Size, read: float) -> Iterator[Row]:
    """Frames a second of all items together, with guidance, in bfloat16; theirs eager, and with a compiled static cache.

    What is compiled comes last, since it takes longest: theirs, and ours with compiled layers, which is a trial.
    """
    model = build("delay", size.frames, size.d_model, size.layers)
    other = peer.whole(model, torch.bfloat16).to(device)
    model.to(device)
    decoder = StaticDecoder(model, "bfloat16", graphs=device == "cuda")
    speeds = {}

    def ours(items: int, decoder: StaticDecoder) -> tuple[float, str]:
        given = Conditions.from_texts([torch.randn(TOKENS, 64)] * items).to(device)
        mine = partial(generate, model, given, size.frames, SAMPLING, range(items), decoder=decoder)
        found = size.frames / median_s(mine, device, size.repeats)
        share = found * megabytes_a_frame(model, size.frames, 2 * items, 2) / 1000 / read
        return found, f"{items * found:.1f} frames/s, {share:.0%} of the read limit"

    for items in size.items:
        speeds[items], said = ours(items, decoder)
        yield f"generation, {items} items: ours", said
    for name, options in (("eager", {}), ("static cache, compiled", {"cache_implementation": "static"})):
        for items in size.items:
            words = torch.randint(5, 90, (items, TOKENS), device=device)
            theirs = partial(
                other.generate, input_ids=words, attention_mask=torch.ones_like(words), do_sample=True, top_k=250,
                guidance_scale=3.0, max_new_tokens=size.frames, **options,
            )  # fmt: skip
            found = _beside(theirs, device, size, items, speeds[items])
            yield f"generation, {items} items: transformers {name}", found
    compiled = StaticDecoder(model, "bfloat16", graphs=device == "cuda")
    for block in compiled.model.blocks:
        block.compile(fullgraph=True, backend="inductor" if device == "cuda" else "eager")
    for items in size.items:
        start = time.perf_counter()
        try:
            found = f"{ours(items, compiled)[1]}; all of it took {time.perf_counter() - start:.0f} s"
        except Exception as error:  # the compiler needs what a machine may lack
            found = f"does not run: {first_line(error)}"
        yield f"generation, {items} items: ours, layers compiled", found


def _beside(theirs: Callable[[], object], device: str, size: Size, items: int, ours: float) -> str:
    try:
        with torch.no_grad():
            speed = size.frames / median_s(theirs, device, size.repeats)
    except Exception as error:  # whatever their static cache does not support is a result, too
        return f"does not run: {first_line(error)}"
    return f"{items * speed:.1f} frames/s; ours is {ours / speed:.2f} times as fast"


def training(device: str, size: Size, tflops: float) -> list[Row]:
    """Codes a second of a step in mixed bfloat16, and the share of the device's bfloat16 products that it reaches."""
    steps, codes = pair(torch.bfloat16, device, size.clips, size.frames, d_model=size.d_model, layers=size.layers)
    rows, speeds = [], []
    for name, step in zip(("ours", "transformers"), steps, strict=True):
        with FlopCounterMode(display=False) as counted:
            step()
        seconds = median_s(step, device, size.repeats)
        share = counted.get_total_flops() / 1e12 / seconds / tflops
        speeds.append(codes.numel() / seconds)
        rows.append((f"training: {name}", f"{speeds[-1]:,.0f} codes/s, model-FLOPs utilisation {share:.1%}"))
    return [*rows, ("training: ratio", f"{speeds[0] / speeds[1]:.2f}")]


def measure(device: str, size: Size) -> Iterator[Row]:
    """All rows, each as soon as it is measured."""
    read, tflops = limits(device, size)
    yield "limits", f"{read:.1f} GB/s read, {tflops:.2f} TFLOP/s in bfloat16"
    yield from training(device, size, tflops)
    yield from generation(device, size, read)
