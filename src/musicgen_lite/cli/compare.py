"""`musicgen-lite compare`."""

from pathlib import Path
from typing import Annotated

import typer

from musicgen_lite.cli.shared.tracking import Experiment, Uri, tracking_params
from musicgen_lite.errors import UserError


def compare(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN",
            help="A run's name (that of its DVC experiment), its MLflow id, or the beginning of its id. Without any: the "
            "newest run of each model type, or the two newest of a single type. A result that DVC restored keeps the name "
            "of its first run.",
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
    uri: Uri = "",
    experiment: Experiment = "",
) -> None:
    """Compare finished runs: a table here, and one page with curves, players and a blind listening test."""
    if votes:
        _votes(votes, runs or [])
    else:
        _compare(runs or [], output, prompts, seed, uri, experiment)


def _votes(files: list[Path], runs: list[str]) -> None:
    if runs:
        raise UserError(f"--votes: the file names its runs itself; leave out {', '.join(runs)}")
    from musicgen_lite.report.votes import print_preferences, read_votes

    print_preferences(read_votes(files))


def _compare(runs: list[str], output: Path, prompts: int, seed: int, uri: str, experiment: str) -> None:
    if output.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"{output}: the page is written as .html")
    from musicgen_lite.io.files import check_place, write_text

    check_place(output)
    if prompts < 1:
        raise UserError(f"prompts: found {prompts}; 1 or more are allowed")
    from musicgen_lite import tracking
    from musicgen_lite.report.comparison import compare as side_by_side
    from musicgen_lite.report.comparison_page import comparison_page
    from musicgen_lite.report.comparison_text import comparison_text

    comparison = side_by_side(tracking.read(tracking_params(uri, experiment), Path.cwd(), runs))
    comparison_text(comparison)
    html = comparison_page(comparison, prompts, seed)
    write_text(output, html)
    print(f"\n{output}: {len(html) / 1e6:.1f} MB, opens from disk: metrics, curves, players and a blind listening test")
