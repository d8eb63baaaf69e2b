"""Where the rows of the project are, for the commands that read them."""

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


def place(uri: str, experiment: str) -> "TrackingParams":
    """What the options say, then what params.yaml of the working directory says, then the project's defaults."""
    from musicgen_lite import params

    said = params.load(PARAMS).tracking if Path(PARAMS).is_file() else None
    return params.TrackingParams(
        uri=uri or (said.uri if said else ""),
        experiment=experiment or (said.experiment if said else "musicgen-lite"),
        required=True,
    )
