"""`musicgen-lite score`."""

import os
from pathlib import Path
from typing import Annotated

import typer

from musicgen_lite.errors import UserError
from musicgen_lite.scoring import metrics

SPACES, PROTOCOLS = (tuple(name for name, *_ in kinds) for kinds in (metrics.SPACES, metrics.PROTOCOLS))
STATISTICS = ".npz"


def score(
    folder: Annotated[Path, typer.Argument(help="A folder of audio, whatever made it.", metavar="FOLDER")],
    reference: Annotated[
        Path,
        typer.Option(
            help="What distances are measured to: a folder of audio, or a .npz of mean and covariance, as fadtk writes it."
        ),
    ],
    captions: Annotated[
        Path | None,
        typer.Option(
            help="A .csv or .jsonl with file_name (or file) and caption (or prompt), such as the index.csv of `generate "
            "--prompts`: adds CLAP, and tempo and key where captions state them.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The JSON with the scores and all behind them.")] = Path(
        "scores.json"
    ),
    seconds: Annotated[
        float | None,
        typer.Option(help="Take the first so many seconds of each clip; by default all.", show_default=False),
    ] = None,
    rate: Annotated[
        int | None,
        typer.Option(
            help="Bring all audio to this rate first, in Hz; by default each model resamples it.", show_default=False
        ),
    ] = None,
    space: Annotated[
        list[str] | None,
        typer.Option(
            help=f"{', '.join(SPACES)}, or one by another tool's protocol, {', '.join(PROTOCOLS)}; may be repeated. By default the "
            "first three, with a .npz clap alone.",
            show_default=False,
        ),
    ] = None,
    clap: Annotated[str, typer.Option(help="The CLAP, as score.clap of params.yaml takes it.")] = "embedded",
    judge: Annotated[str, typer.Option(help="A second CLAP for the captions, such as judge.")] = "",
    vggish: Annotated[
        str,
        typer.Option(
            help="The file of VGGish's weights, for vggish_audiocraft, as score.vggish of params.yaml takes it."
        ),
    ] = "",
    codec: Annotated[str, typer.Option(help="The codec, as codec.name of params.yaml takes it.")] = "embedded",
    codebooks: Annotated[int, typer.Option(help="How many codebooks of the codec are in use.")] = 4,
    aesthetics: Annotated[
        str, typer.Option(help="Adds the ratings of audiobox-aesthetics: a directory, or facebook/audiobox-aesthetics.")
    ] = "",
    stats_model: Annotated[
        str, typer.Option(help="Whose statistics to take of a .npz that holds several, such as clap-laion-music.")
    ] = "",
    bootstrap: Annotated[int, typer.Option(help="Resamples behind each 95 % interval.")] = 2000,
    cache: Annotated[
        Path | None,
        typer.Option(help="The file where embeddings are kept; by default beside --out.", show_default=False),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[int, typer.Option(help="CPU threads; 0 takes all cores.")] = 0,
    trusted_pickles: Annotated[
        list[str] | None,
        typer.Option(help="The sha256 of a pickled codec or CLAP that may be loaded. May be repeated."),
    ] = None,
) -> None:
    """Score a folder of audio without a pipeline: distances to a reference, fit to captions, pulse, tempo and key."""
    chosen = _spaces(space, reference)
    _check(out, seconds, rate, bootstrap, threads, codebooks)
    _check_inputs(reference, stats_model, captions)
    from musicgen_lite.cli.shared import folder_scores
    from musicgen_lite.cli.shared.folder_scores import Models, Request

    request = Request(folder, reference, captions, seconds, rate, stats_model, chosen, bootstrap)
    cores, trusted = threads or os.cpu_count() or 1, tuple(trusted_pickles or ())
    models = Models(clap, judge, vggish, codec, codebooks, aesthetics, device, cores, trusted)
    folder_scores.run(request, models, out, cache or out.with_suffix(".embeddings.sqlite"))


def _spaces(wanted: list[str] | None, reference: Path) -> tuple[str, ...]:
    """The spaces in which distances are measured; a file of statistics is of one."""
    for one in wanted or ():
        if one not in SPACES + PROTOCOLS:
            raise UserError(f"space: found {one!r}; {', '.join(SPACES + PROTOCOLS)} are allowed")
    if reference.suffix.lower() != STATISTICS:
        return tuple(one for one in SPACES + PROTOCOLS if one in (wanted or SPACES))
    if len(wanted or ()) > 1:
        raise UserError(f"{reference}: the statistics of one space; name that one with --space, not several")
    (space,) = wanted or ("clap",)
    if "fad" not in metrics.titles(space):
        raise UserError(
            f"{reference}: a mean and a covariance, of which {space} measures nothing; it needs a folder of audio"
        )
    return (space,)


def _check(out: Path, seconds: float | None, rate: int | None, bootstrap: int, threads: int, codebooks: int) -> None:
    if out.suffix.lower() != ".json":
        raise UserError(f"{out}: the scores are written as .json")
    if seconds is not None and not 0.1 <= seconds <= 3600:
        raise UserError(f"seconds: found {seconds:g}; 0.1 to 3600 are allowed")
    if rate is not None and not 8000 <= rate <= 192_000:
        raise UserError(f"rate: found {rate}; 8000 to 192000 Hz are allowed")
    for name, value, least in (("bootstrap", bootstrap, 100), ("threads", threads, 0), ("codebooks", codebooks, 1)):
        if value < least:
            raise UserError(f"{name}: found {value}; {least} or more are allowed")


def _check_inputs(reference: Path, stats_model: str, captions: Path | None) -> None:
    if stats_model and reference.suffix.lower() != STATISTICS:
        raise UserError(
            f"stats-model: found {stats_model!r}; it chooses within a {STATISTICS} file, but --reference is {reference}"
        )
    if captions and not captions.is_file():
        what = "a folder" if captions.is_dir() else "no such file"
        raise UserError(
            f"{captions}: {what}; --captions is a .csv or .jsonl with the columns file_name (or file) and caption (or prompt)"
        )
