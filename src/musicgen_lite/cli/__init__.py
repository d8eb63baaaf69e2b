"""The command `musicgen-lite`: one file a command, registered here.

A command's file imports heavy packages within its function, so that help and mistyped options are answered at once.
"""

from typing import Annotated

import typer

from musicgen_lite import __version__
from musicgen_lite.cli import (
    clean,
    compare,
    convert_clap,
    export,
    export_samples,
    generate,
    preset,
    pull,
    push,
    score,
    ui,
    web,
)
from musicgen_lite.cli.shared.errors import PlainErrors

app = typer.Typer(
    cls=PlainErrors,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"musicgen-lite {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Small text-to-music models: generate from a trained one, export it, score, compare several, write presets, clean up."""


app.command("generate")(generate.generate)
app.command("export")(export.export)
app.command("export-samples")(export_samples.export_samples)
app.command("compare")(compare.compare)
app.command("score")(score.score)
app.command("app")(web.web)
app.command("ui")(ui.ui)
app.command("push")(push.push)
app.command("pull")(pull.pull)
app.command("preset")(preset.preset)
app.command("convert-clap")(convert_clap.convert_clap)
app.command("clean")(clean.clean)
