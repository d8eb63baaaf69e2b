"""`musicgen-lite generate`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from musicgen_lite.cli.shared import models, outputs
from musicgen_lite.cli.shared.tracking import Experiment, Uri
from musicgen_lite.errors import UserError
from musicgen_lite.request import Request, check_candidates

if TYPE_CHECKING:  # pandas takes a second to load
    from musicgen_lite.batch import Row

MODEL = "shipped"
CANDIDATES = 4


def generate(
    prompt: Annotated[
        str | None, typer.Argument(help="What to play, in English.", show_default=False, metavar="PROMPT")
    ] = None,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="A .wav or .flac file; - writes WAV to standard output while it is made, for a player.",
        ),
    ] = Path("out.wav"),
    prompts: Annotated[
        Path | None,
        typer.Option(
            help="Many prompts instead of one: a .txt with one a line, or a .csv with a column prompt and, if wanted, id, "
            "seconds, seed and tempo. The output is a folder with an index; a run that was killed goes on."
        ),
    ] = None,
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
    candidates: Annotated[
        int | None,
        typer.Option(help="How many to make; CLAP picks the best. By default 4, with -o - 1.", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option(help="Equal seeds give equal music.")] = 0,
    temperature: Annotated[float, typer.Option(help="Below 1 is safer, above is wilder.")] = 1.0,
    top_k: Annotated[int, typer.Option(help="Draw among the k likeliest codes; 1 is greedy.")] = 250,
    top_p: Annotated[float, typer.Option(help="Draw among the likeliest codes of this mass; 0 takes all.")] = 0.0,
    model: Annotated[
        str,
        typer.Option(
            help="shipped (model B with --audio, else A), shipped-a, shipped-b, a file that the pipeline trained, an exported "
            "folder, a finished MLflow run, models:/NAME@ALIAS of MLflow's registry, or a published model's directory or hub name."
        ),
    ] = MODEL,
    weights: Annotated[
        str,
        typer.Option(
            help="How the weights are held: float32, bfloat16, on a CPU int8, on a GPU float16; smaller is faster, and rounds."
        ),
    ] = "float32",
    kv_cache: Annotated[
        str,
        typer.Option(
            help="How attention's keys and values are held: auto (float32 with float32 weights, else 16 bits), on a CPU "
            "float32 or bfloat16."
        ),
    ] = "auto",
    verbose: Annotated[bool, typer.Option("--verbose", help="Say on what and in which formats it runs.")] = False,
    threads: Annotated[int, typer.Option(help="CPU threads; 0 takes all cores.")] = 0,
    trusted_pickles: Annotated[
        list[str] | None,
        typer.Option(help="The sha256 of a pickled codec, text encoder or CLAP that may be loaded. May be repeated."),
    ] = None,
    uri: Uri = "",
    experiment: Experiment = "",
) -> None:
    """Generate music for a prompt, or for each of a file, and write it to a file, a player or a folder."""
    outputs.check_output(output, prompts is not None, candidates, (audio, continued))
    request = Request(prompt or "", seconds, tempo, seed)
    rows = _rows(prompt, prompts, request)
    number = candidates if candidates is not None else (1 if output == outputs.STDOUT else CANDIDATES)
    _check(number, threads, top_k)
    # Heavy imports after the cheap checks: a mistyped option is answered at once.
    from musicgen_lite.device import set_threads
    from musicgen_lite.generation import Sampling
    from musicgen_lite.generator import load

    sampling = Sampling(temperature, top_k, top_p, guidance, guidance_audio)
    set_threads(threads or os.cpu_count() or 1)
    if audio and model == MODEL:
        model = f"{MODEL}-b"
    model = models.resolve(model, uri, experiment)
    heard = output == outputs.STDOUT
    generator = load(
        model, "" if heard else "embedded", weights=weights, kv_cache=kv_cache, trusted_pickles=trusted_pickles or []
    )
    if verbose:
        typer.echo(generator.decoder.path, err=True)
    given: dict[str, Any] = {"style": audio, "continued": continued, "sampling": sampling}
    if prompts is not None:
        outputs.to_folder(generator, rows, prompts, output, number, given)
    elif heard:
        outputs.to_stdout(generator.stream(**vars(request), **given))
    else:
        outputs.to_file(generator.generate(**vars(request), **given, candidates=number, progress=True), output)


def _rows(prompt: str | None, prompts: Path | None, defaults: "Request") -> "list[Row]":
    """The rows of a file of prompts; none for a single prompt, which is checked."""
    if prompts is None:
        if prompt is None:
            raise UserError("give a prompt, or a file of them with --prompts")
        defaults.check()
        return []
    if prompt is not None:
        raise UserError(f"--prompts: the file has the prompts; leave out {prompt!r}")
    from musicgen_lite.batch import read_prompts

    return read_prompts(prompts, defaults)


def _check(candidates: int, threads: int, top_k: int) -> None:
    check_candidates(candidates)
    if threads < 0:
        raise UserError(f"threads: found {threads}; 0 (all cores) or more are allowed")
    if top_k < 1:
        raise UserError(f"top_k: found {top_k}; 1 (greedy) or more, up to all codes of the codec, are allowed")
