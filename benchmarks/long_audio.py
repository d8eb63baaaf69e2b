"""Long audio through the codec in pieces and at once: codes, waveforms, time and memory.

`python -m benchmarks.long_audio` takes about 10 minutes and, at once, 10 GB of memory. Composed music goes through the shipped
codec and through the architecture of facebook/encodec_32khz with random weights, each time in a process of its own; its
memory is the most that it held beyond what it held with model and audio loaded. Joins are two frames around each.
"""

import argparse
import multiprocessing
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.generation import process_memory
from musicgen_lite import codec
from musicgen_lite.codec import encodec, neural
from musicgen_lite.sources import synthetic
from tests.support import codec_real

CODEBOOKS, CLIP_S = 4, 10.0
WHOLE_S = 1e6  # a piece that holds everything


def music(seconds: float, rate: int) -> torch.Tensor:
    """Composed clips one after the other, `[1, T]`."""
    clips = [synthetic.clip(seed, "test", CLIP_S, rate).samples for seed in range(int(seconds / CLIP_S) + 1)]
    return torch.from_numpy(np.concatenate(clips))[None, : round(seconds * rate)]


def _through(name: str, seconds: float, piece_s: float, out: Path, answer: Any) -> None:
    neural.PIECE_S = piece_s
    model = codec.load(name, num_codebooks=CODEBOOKS)
    wave = music(seconds, model.rate)
    before, start = process_memory("VmRSS"), time.perf_counter()
    codes = model.encode(wave)
    middle, encoding = time.perf_counter(), process_memory("VmHWM")
    heard = model.decode(codes)
    took = middle - start, time.perf_counter() - middle
    np.savez(out, codes=codes[0].numpy(), heard=heard[0].numpy())
    answer.put((encoding - before, process_memory("VmHWM") - before, *took))


def through(name: str, seconds: float, piece_s: float) -> tuple[tuple[float, ...], np.ndarray, np.ndarray]:
    """MB to encode, MB to encode and decode, seconds of each; codes `[N_q, T]` and waveform `[T]`."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as place:
        out, answer = Path(place) / "found.npz", context.SimpleQueue()
        process = context.Process(target=_through, args=(name, seconds, piece_s, out, answer))
        process.start()
        cost = answer.get()
        process.join()
        found = np.load(out)
        return cost, found["codes"], found["heard"]


def show(title: str, name: str, lengths: list[float], whole: bool) -> None:
    model = codec.load(name, num_codebooks=CODEBOOKS)
    for seconds in lengths:
        cost, codes, heard = through(name, seconds, neural.PIECE_S)
        print(f"{title}, {seconds:g} s in pieces: {_figures(cost)}", flush=True)
        if not whole:
            continue
        cost, at_once, sound = through(name, seconds, WHOLE_S)
        print(f"{title}, {seconds:g} s at once: {_figures(cost)}")
        apart = np.abs(heard - sound)
        frames = np.arange(neural.PIECE_S, seconds, neural.PIECE_S) * model.frame_rate
        joins = [apart[int(frame - 1) * model.hop : int(frame + 1) * model.hop].max() for frame in frames]
        equal = (codes == at_once).mean(axis=1)
        print(
            f"  codes equal: {(codes == at_once).mean():.6f}, by codebook {' '.join(f'{share:.6f}' for share in equal)}; "
            f"waveforms differ by {apart.max():.1e} at most, {max(joins, default=0.0):.1e} at joins, beside a deviation of "
            f"{sound.std():.3f}",
            flush=True,
        )


def _figures(cost: tuple[float, ...]) -> str:
    encoding, both, first, second = cost
    return f"{encoding:.0f} MB to encode, {both:.0f} MB with decoding; {first:.1f} s and {second:.1f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, nargs="*", default=[10.0, 180.0, 300.0])
    parser.add_argument("--real-seconds", type=float, nargs="*", default=[10.0, 180.0])
    parser.add_argument("--pieces-only", action="store_true", help="leave out what needs much memory")
    given = parser.parse_args()
    print(
        f"pieces of {neural.PIECE_S:g} s with {encodec.CONTEXT_S:g} s on both sides; {torch.get_num_threads()} threads"
    )
    show("shipped codec", "embedded", given.seconds, not given.pieces_only)
    with tempfile.TemporaryDirectory() as name:
        codec_real.model(32000, CODEBOOKS).save_pretrained(name)
        show("32 kHz codec", name, given.real_seconds, not given.pieces_only)


if __name__ == "__main__":
    main()
