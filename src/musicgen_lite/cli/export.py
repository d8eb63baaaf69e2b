"""`musicgen-lite export`."""

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from musicgen_lite.cli.shared import models
from musicgen_lite.cli.shared.tracking import Experiment, Uri, tracking_params
from musicgen_lite.errors import UserError

if TYPE_CHECKING:  # they take seconds to load
    from musicgen_lite.model_card import Origin
    from musicgen_lite.tracking import Result


class Format(StrEnum):
    OURS = "musicgen-lite"
    TRANSFORMERS = "transformers"


def export(
    model: Annotated[
        str,
        typer.Argument(
            help="shipped, shipped-a, shipped-b, a model file, a finished MLflow run by its name or id, or models:/NAME@ALIAS.",
            show_default=False,
        ),
    ],
    folder: Annotated[Path, typer.Argument(help="The folder to write; it must not hold anything.", show_default=False)],
    licence: Annotated[
        str,
        typer.Option(
            "--license", help="The licence as the hub writes it, such as cc-by-4.0; by default what the project knows."
        ),
    ] = "",
    format: Annotated[
        Format,
        typer.Option(
            help="musicgen-lite, or of a model of type musicgen transformers: its MusicgenForConditionalGeneration."
        ),
    ] = Format.OURS,
    uri: Uri = "",
    experiment: Experiment = "",
) -> None:
    """Write a model as a folder for the Hugging Face hub: safetensors, config.json and a model card with its metrics."""
    from musicgen_lite import export as exporting
    from musicgen_lite import model_facts
    from musicgen_lite.model_card import model_card
    from musicgen_lite.pretrained import shipped

    exporting.check_folder(folder)
    if model in shipped.NAMES:
        path, result = shipped.model_file(shipped.NAMES[model]), None
    else:
        path, result = _trained(model, uri, experiment)
    facts = model_facts.read(path)
    origin = _origin(result, folder.name) if result else _unmeasured(path, folder.name)
    card = model_card(facts, replace(origin, licence=licence))
    if format is Format.TRANSFORMERS:
        exporting.write_transformers(folder, path, card)
    else:
        exporting.write(folder, path, facts, card)
    print(f"{folder}: the model with its card; `hf upload OWNER/NAME {folder}` puts it on the hub")


def _trained(model: str, uri: str, experiment: str) -> "tuple[Path, Result | None]":
    """The file of a model, and its run where that is known."""
    from musicgen_lite import model_facts, tracking

    found = models.tracked(model, uri, experiment)
    path = found.path if found else Path(model)
    if path.is_dir():
        raise UserError(f"{model}: this is a folder; name the model file in it")
    digest = model_facts.read(path).sha256  # names a file that is missing
    place = tracking_params(uri, experiment)
    try:
        run_id = tracking.run_of(place, Path.cwd(), digest, found.run_id if found else None)
        return path, tracking.read(place, Path.cwd(), [run_id])[0] if run_id else None
    except UserError as error:
        if found:
            raise
        tracking.warn(f"{error}; the card of the file has no metrics")
        return path, None


def _origin(result: "Result", name: str) -> "Origin":
    """What a run says of its model."""
    from musicgen_lite.model_card import Origin, measured

    estimates = {key: value for one in result.scores.values() for key, value in one["estimates"].items()}
    return Origin(
        name,
        source=result.params.get("data.source", ""),
        parameters=int(result.metrics.get("parameters", 0)),
        metrics=measured(estimates),
        run=f"{result.name} ({result.run_id[:8]})",
    )


def _unmeasured(path: Path, name: str) -> "Origin":
    """What the shipped card beside a shipped model says; nothing of another file."""
    from musicgen_lite.model_card import Origin, of_shipped
    from musicgen_lite.pretrained import shipped

    card = path.with_suffix(".md")
    return (
        of_shipped(name, card.read_text(encoding="utf-8"))
        if path.parent == shipped.ROOT / shipped.MODELS
        else Origin(name)
    )
