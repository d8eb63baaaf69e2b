"""The command `musicgen-lite`."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from musicgen_lite.errors import UserError

MODEL = "data/model/model.safetensors"
PARAMS = "params.yaml"

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def main() -> None:
    """Small text-to-music models: generate from a trained one, compare several, write presets, convert a CLAP."""


@app.command()
def generate(
    prompt: Annotated[str, typer.Argument(help="What to play, in English.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A .wav or .flac file.")] = Path("out.wav"),
    audio: Annotated[
        Path | None, typer.Option(help="A clip whose first seconds set the style (model B); any rate and channels.")
    ] = None,
    continued: Annotated[Path | None, typer.Option("--continue", help="A clip that the music goes on from.")] = None,
    seconds: Annotated[float, typer.Option(help="Length of the new music.")] = 10.0,
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
        str, typer.Option(help="A model that the pipeline trained, or a published MusicGen: a directory or a hub name.")
    ] = MODEL,
    weights: Annotated[
        str, typer.Option(help="How a CPU holds the weights: float32, bfloat16 or int8; smaller is faster, and rounds.")
    ] = "float32",
    threads: Annotated[int, typer.Option(help="CPU threads; 0 takes all cores.")] = 0,
    trusted_pickles: Annotated[
        list[str] | None,
        typer.Option(help="The sha256 of a pickled codec, text encoder or CLAP that may be loaded. May be repeated."),
    ] = None,
) -> None:
    """Generate music for a prompt and write it to a file."""
    try:
        _generate(
            prompt, output, audio, continued, seconds, (guidance, guidance_audio, temperature, top_k, top_p), candidates,
            seed, model, weights, threads, trusted_pickles or [],
        )  # fmt: skip
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from None


def _generate(
    prompt: str,
    output: Path,
    style: Path | None,
    continued: Path | None,
    seconds: float,
    drawing: tuple[float, float | None, float, int, float],
    candidates: int,
    seed: int,
    model: str,
    weights: str,
    threads: int,
    trusted_pickles: list[str],
) -> None:
    if output.suffix.lower() not in (".wav", ".flac"):
        raise UserError(f"{output}: audio is written as .wav or .flac")
    if not 0 <= seed < 2**48:
        raise UserError(f"seed: found {seed}; 0 to 2**48 - 1 are allowed")
    if threads < 0:
        raise UserError(f"threads: found {threads}; 0 (all cores) or more are allowed")
    if drawing[3] < 1:
        raise UserError(f"top_k: found {drawing[3]}; 1 (greedy) or more, up to all codes of the codec, are allowed")
    # Heavy imports after the cheap checks: a mistyped option is answered at once.
    import torch

    from musicgen_lite.generation import Sampling
    from musicgen_lite.generator import load

    guidance, guidance_audio, temperature, top_k, top_p = drawing
    sampling = Sampling(temperature, top_k, top_p, guidance, guidance_audio)
    torch.set_num_threads(threads or os.cpu_count() or 1)
    generator = load(model, weights=weights, trusted_pickles=trusted_pickles)
    music = generator.generate(
        prompt, seconds=seconds, style=style, continued=continued, candidates=candidates, seed=seed, sampling=sampling,
        progress=True,
    )  # fmt: skip
    music.write(output)
    for number, score in enumerate(music.scores):
        print(f"candidate {number}: CLAP {score:.3f}{'  picked' if number == music.picked else ''}")
    print(f"{output}: {len(music.samples) / music.rate:.1f} s, {music.real_time_factor:.2f}x real time")


@app.command()
def preset(
    name: Annotated[str, typer.Argument(help="A file of presets/ without .yaml; default undoes the others.")],
) -> None:
    """Write a preset's parameters into params.yaml; its comments and all other keys stay."""
    from musicgen_lite import presets

    try:
        changed = presets.write(name, Path("presets"), Path(PARAMS))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    for key, (old, new) in changed.items():
        print(f"{key}: {old} -> {new}")
    print(f"{PARAMS}: {len(changed)} parameters changed" if changed else f"{PARAMS}: nothing to change")


@app.command()
def compare(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN]…",
            help="A row's name (that of its DVC experiment), its MLflow id, or the beginning of its id. Without any: the "
            "newest of each model type.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The page to write.")] = Path("compare.html"),
    prompts: Annotated[int, typer.Option(help="Test prompts on the page and in its listening test.")] = 12,
    seed: Annotated[int, typer.Option(help="Order and sides of the blind test.")] = 0,
    votes: Annotated[
        list[Path] | None,
        typer.Option(help="A CSV of the blind test: give preferences instead of comparing. May be repeated."),
    ] = None,
    tracking: Annotated[
        str,
        typer.Option(
            envvar="MLFLOW_TRACKING_URI",
            help="tracking.uri of the project; without it the database at the root of the repository.",
        ),
    ] = "",
    experiment: Annotated[str, typer.Option(help="tracking.experiment of the project.")] = "musicgen-lite",
) -> None:
    """Compare finished runs: a table here, and one page with curves, players and a blind listening test."""
    try:
        if votes:
            _votes(votes, runs or [])
        else:
            _compare(runs or [], output, prompts, seed, tracking, experiment)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from None


def _votes(files: list[Path], runs: list[str]) -> None:
    if runs:
        raise UserError(f"--votes: the file names its runs itself; leave out {', '.join(runs)}")
    from musicgen_lite.report.votes import print_preferences, read_votes

    print_preferences(read_votes(files))


def _compare(runs: list[str], output: Path, prompts: int, seed: int, uri: str, experiment: str) -> None:
    if output.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"{output}: the page is written as .html")
    if prompts < 1:
        raise UserError(f"prompts: found {prompts}; 1 or more are allowed")
    from musicgen_lite import tracking
    from musicgen_lite.params import TrackingParams
    from musicgen_lite.report.comparison import compare as side_by_side
    from musicgen_lite.report.comparison_page import comparison_page
    from musicgen_lite.report.comparison_text import comparison_text
    from musicgen_lite.store import write_text

    place = TrackingParams(uri=uri, experiment=experiment, required=True)
    comparison = side_by_side(tracking.read(place, Path.cwd(), runs))
    comparison_text(comparison)
    html = comparison_page(comparison, prompts, seed)
    write_text(output, html)
    print(f"\n{output}: {len(html) / 1e6:.1f} MB, opens from disk: figures, curves, players and a blind listening test")


@app.command("convert-clap")
def convert_clap(
    checkpoint: Annotated[Path, typer.Argument(help="A CLAP checkpoint of LAION's, such as music_audioset_….pt.")],
    directory: Annotated[Path, typer.Argument(help="A new directory, to be named in score.clap or score.judge.")],
    sha256: Annotated[
        str, typer.Option(help="What its publisher states. A pickle can run code: known files need none, others do.")
    ] = "",
    roberta: Annotated[
        str, typer.Option(help="Where its tokenizer is from: a directory or a hub name.")
    ] = "roberta-base",
) -> None:
    """Write a CLAP checkpoint of LAION's as safetensors for transformers' ClapModel, which needs no laion-clap."""
    try:
        from musicgen_lite.scoring.clap_convert import convert

        fingerprint = convert(checkpoint, directory, [sha256] if sha256 else [], roberta)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    print(f"{directory}: a ClapModel with the fingerprint {fingerprint}; name it in score.clap")


if __name__ == "__main__":
    app()
