"""`musicgen-lite convert-clap`."""

from pathlib import Path
from typing import Annotated

import typer


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
    from musicgen_lite.clap.convert import convert

    fingerprint = convert(checkpoint, directory, [sha256] if sha256 else [], roberta)
    print(f"{directory}: a ClapModel with the fingerprint {fingerprint}; name it in score.clap")
