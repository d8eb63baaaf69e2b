"""`musicgen-lite preset`."""

from pathlib import Path
from typing import Annotated

import typer

PARAMS = "params.yaml"


def preset(
    name: Annotated[str, typer.Argument(help="A file of presets/ without .yaml; default undoes the others.")],
) -> None:
    """Write a preset's parameters into params.yaml; its comments and all other keys stay."""
    from musicgen_lite import presets

    changed = presets.write(name, Path("presets"), Path(PARAMS))
    for key, (old, new) in changed.items():
        print(f"{key}: {old} -> {new}")
    print(f"{PARAMS}: {len(changed)} parameters changed" if changed else f"{PARAMS}: nothing to change")
