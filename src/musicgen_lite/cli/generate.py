"""`musicgen-lite generate`."""

import os
from pathlib import Path
from typing import Annotated

import typer

from musicgen_lite.errors import UserError

MODEL = "shipped"


def generate(
    prompt: Annotated[str, typer.Argument(help="What to play, in English.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A .wav or .flac file.")] = Path("out.wav"),
    audio: Annotated[
        Path | None, typer.Option(help="A clip whose first seconds set the style (model B); any rate and channels.")
    ] = None,
    continued: Annotated[Path | None, typer.Option("--continue", help="A clip that the music goes on from.")] = None,
    seconds: Annotated[float, typer.Option(help="Length of the new music.")] = 10.0,
    tempo: Annotated[
        float | None,
        typer.Option(help="In BPM, for a model with a beat condition; goes before one that the prompt states."),
    ] = None,
    guidance: Annotated[float, typer.Option(help="Guidance scale; 1 is none.")] = 2.0,
    guidance_audio: Annotated[
        float | None, typer.Option(help="A scale of its own for the clip of --audio; without it both share one.")
    ] = None,
    candidates: Annotated[int, typer.Option(help="How many to make; CLAP picks the best.")] = 4,
    seed: Annotated[int, typer.Option(help="Equal seeds give equal music.")] = 0,
    temperature: Annotated[float, typer.Option(help="Below 1 is safer, above is wilder.")] = 1.0,
    top_k: Annotated[int, typer.Option(help="Draw among the k likeliest codes; 1 is greedy.")] = 250,
    top_p: Annotated[float, typer.Option(help="Draw among the likeliest codes of this mass; 0 takes all.")] = 0.0,
    model: Annotated[
        str,
        typer.Option(
            help="shipped (model B with --audio, else A), shipped-a, shipped-b, a file that the pipeline trained, or a "
            "published MusicGen: a directory or a hub name."
        ),
    ] = MODEL,
    weights: Annotated[
        str,
        typer.Option(
            help="How the weights are held: float32, bfloat16, on a CPU int8, on a GPU float16; smaller is faster, and rounds."
        ),
    ] = "float32",
    threads: Annotated[int, typer.Option(help="CPU threads; 0 takes all cores.")] = 0,
    trusted_pickles: Annotated[
        list[str] | None,
        typer.Option(help="The sha256 of a pickled codec, text encoder or CLAP that may be loaded. May be repeated."),
    ] = None,
) -> None:
    """Generate music for a prompt and write it to a file."""
    _check(output, (audio, continued), seed, threads, top_k)
    # Heavy imports after the cheap checks: a mistyped option is answered at once.
    import torch

    from musicgen_lite.generation import Sampling
    from musicgen_lite.generator import check_request, load

    check_request(prompt, seconds, candidates, tempo)
    sampling = Sampling(temperature, top_k, top_p, guidance, guidance_audio)
    torch.set_num_threads(threads or os.cpu_count() or 1)
    if audio and model == MODEL:
        model = f"{MODEL}-b"
    generator = load(model, weights=weights, trusted_pickles=trusted_pickles or [])
    music = generator.generate(
        prompt, seconds=seconds, tempo=tempo, style=audio, continued=continued, candidates=candidates, seed=seed,
        sampling=sampling, progress=True,
    )  # fmt: skip
    music.write(output)
    for number, score in enumerate(music.scores):
        told = f", {music.tempos[number]:.0f} BPM" if music.tempos else ""
        print(f"candidate {number}: CLAP {score:.3f}{told}{'  picked' if number == music.picked else ''}")
    print(f"{output}: {len(music.samples) / music.rate:.1f} s, {music.real_time_factor:.2f}x real time")


def _check(output: Path, read: tuple[Path | None, ...], seed: int, threads: int, top_k: int) -> None:
    from musicgen_lite.io import audio, files

    files.check_place(output, *read)  # first, so that a folder is named as one
    audio.check_place(output, *read)
    if not 0 <= seed < 2**48:
        raise UserError(f"seed: found {seed}; 0 to 2**48 - 1 are allowed")
    if threads < 0:
        raise UserError(f"threads: found {threads}; 0 (all cores) or more are allowed")
    if top_k < 1:
        raise UserError(f"top_k: found {top_k}; 1 (greedy) or more, up to all codes of the codec, are allowed")
