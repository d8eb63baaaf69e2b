"""`musicgen-lite app`."""

from pathlib import Path
from typing import Annotated

import typer

from musicgen_lite.cli.shared import models
from musicgen_lite.cli.shared.tracking import Experiment, Uri, tracking_params


def web(
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="A model to offer, as `generate --model` takes it; may be repeated. Shipped models and the one that was trained "
            "here are offered anyway."
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen at; by default this machine alone.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port; 0 takes any free one.")] = 7860,
    auth: Annotated[
        str, typer.Option(help="user:password, asked for by the page.", envvar="MUSICGEN_LITE_AUTH", show_envvar=True)
    ] = "",
    root_path: Annotated[str, typer.Option(help="The path under which a proxy shows the page.")] = "",
    waiting: Annotated[int, typer.Option(help="How many requests may wait; further ones are told to come back.")] = 16,
    threads: Annotated[int, typer.Option(help="CPU threads; 0 takes all cores.")] = 0,
    trusted_pickles: Annotated[
        list[str] | None,
        typer.Option(help="The sha256 of a pickled codec, text encoder or CLAP that may be loaded. May be repeated."),
    ] = None,
    uri: Uri = "",
    experiment: Experiment = "",
) -> None:
    """Open a web page: create, compare blind, look at runs; Ctrl-C ends it."""
    from musicgen_lite.app.serve import Options, serve

    options = Options(host, port, auth, root_path, waiting, threads)
    named = {name: models.resolve(name, uri, experiment) for name in model or []}
    serve(named, options, tracking_params(uri, experiment), Path.cwd(), trusted_pickles or [])
