"""`musicgen-lite convert-clap`."""

from pathlib import Path
from typing import Annotated

import typer


def convert_clap(
    checkpoint: Annotated[Path, typer.Argument(help="A LAION CLAP checkpoint, such as music_audioset_….pt.")],
    directory: Annotated[Path, typer.Argument(help="A new directory, to be named in score.clap or score.judge.")],
    sha256: Annotated[
        str, typer.Option(help="As the publisher states it. A pickle can run code: files that are not known need it.")
    ] = "",
    roberta: Annotated[
        str, typer.Option(help="The text encoder's tokenizer: a directory or a hub name.")
    ] = "roberta-base",
) -> None:
    """Write a LAION CLAP checkpoint as safetensors for transformers' ClapModel, which needs no laion-clap."""
    from musicgen_lite.clap.convert import convert

    fingerprint = convert(checkpoint, directory, [sha256] if sha256 else [], roberta)
    print(f"{directory}: a ClapModel with the fingerprint {fingerprint}; name it in score.clap")
