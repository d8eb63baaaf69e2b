"""Options that name the MLflow server and experiment, for the commands that read runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from musicgen_lite.params import TrackingParams

PARAMS = "params.yaml"
Uri = Annotated[
    str,
    typer.Option(
        "--tracking",
        envvar="MLFLOW_TRACKING_URI",
        help="An MLflow server or database; by default tracking.uri of params.yaml, or mlflow.db here.",
        show_default=False,
    ),
]
Experiment = Annotated[
    str, typer.Option(help="An MLflow experiment; by default tracking.experiment of params.yaml.", show_default=False)
]


def tracking_params(uri: str, experiment: str) -> "TrackingParams":
    """The options where given, else params.yaml of the working directory, else the project's defaults."""
    from musicgen_lite import params

    found = params.load(PARAMS).tracking if Path(PARAMS).is_file() else None
    return params.TrackingParams(
        uri=uri or (found.uri if found else ""),
        experiment=experiment or (found.experiment if found else "musicgen-lite"),
        required=True,
    )
