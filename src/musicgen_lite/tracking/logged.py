"""The model of a run as MLflow's users expect one: a pyfunc with signature and input example, made from code, not from a pickle.

A logged model belongs to a result as its run does: a run that is written again from files gets the model that is there.
`mlflow.pyfunc.log_model` would generate music for the input example, and needs a global active run; the calls here are those
that it consists of.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musicgen_lite import __version__
from musicgen_lite.tracking.connection import Connection

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel
    from mlflow.models import ModelSignature

NAME = "model"
FILE = "artifacts/model.safetensors"  # in a logged model
RESULT = "result"  # a tag of logged models and registered versions: which result of which training
KIND = "model.type"  # a tag of registered versions
OURS = "musicgen-lite"  # the entry of a model's metadata by which it is known again
SCRIPT = Path(__file__).with_name("served.py")
EXAMPLE = {"prompt": "A fast techno beat with a synth lead.", "seconds": 5.0, "seed": 0, "guidance": 2.0}
CANDIDATES = 4


@dataclass(frozen=True)
class ModelFile:
    """A model to log: its file, called model.safetensors; what MLflow says of it; options of `generator.load` where it is served."""

    path: Path
    metadata: Mapping[str, Any]
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The type of the model."""
        return str(self.metadata["config"]["type"])

    @property
    def tags(self) -> dict[str, str]:
        """What a registered version is found by."""
        named = {name: self.metadata.get(name) for name in ("codec", "text", "corpus", "licence", "sha256")}
        return {KIND: self.kind, **{name: str(value) for name, value in named.items() if value}}


def signature() -> "ModelSignature":
    """Columns and parameters in, columns out."""
    from mlflow.models import ModelSignature
    from mlflow.types.schema import ColSpec, ParamSchema, ParamSpec, Schema

    optional = (("double", "seconds"), ("long", "seed"), ("double", "guidance"))
    return ModelSignature(
        Schema([ColSpec("string", "prompt"), *(ColSpec(kind, name, required=False) for kind, name in optional)]),
        Schema([ColSpec("binary", "wav")]),
        ParamSchema([ParamSpec("candidates", "long", CANDIDATES)]),
    )


def log_model(connection: Connection, run_id: str, result: str, file: ModelFile) -> "LoggedModel":
    """The logged model of a `result`, whole, among the outputs of its run; a second call changes nothing."""
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus

    client = connection.client
    found = find_models(connection, RESULT, result)
    model = (
        found[0]
        if found
        else client.create_logged_model(
            connection.experiment_id,
            NAME,
            source_run_id=run_id,
            tags={**file.tags, RESULT: result},
            params=dict(client.get_run(run_id).data.params),
            model_type=file.kind,
        )
    )
    if model.status != LoggedModelStatus.READY or not _there(model):
        with tempfile.TemporaryDirectory() as folder:
            _save(Path(folder) / NAME, run_id, model.model_id, file)
            client.log_model_artifacts(model.model_id, str(Path(folder) / NAME))
        model = client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    if model.model_id not in outputs(connection, run_id):
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    return model


def find_models(connection: Connection, tag: str, value: str) -> "list[LoggedModel]":
    """The logged models with a tag, newest first, without deleted ones."""
    return list(connection.client.search_logged_models([connection.experiment_id], f"tags.`{tag}` = '{value}'"))


def outputs(connection: Connection, run_id: str) -> list[str]:
    """Ids of the logged models of a run."""
    run = connection.client.get_run(run_id)
    return [output.model_id for output in (run.outputs.model_outputs if run.outputs else [])]


def _there(model: "LoggedModel") -> bool:
    """Whether the files of a model on this machine are there; those of a server are taken to be."""
    place = model.artifact_location
    return not place.startswith("/") or (Path(place) / FILE).is_file()


def _save(folder: Path, run_id: str, model_id: str, file: ModelFile) -> None:
    import pandas as pd
    from mlflow import pyfunc
    from mlflow.models import Model
    from mlflow.version import VERSION

    pyfunc.save_model(
        folder,
        python_model=SCRIPT,
        artifacts={"model": str(file.path)},
        mlflow_model=Model(artifact_path=NAME, run_id=run_id, model_id=model_id),
        signature=signature(),
        input_example=pd.DataFrame([EXAMPLE]),
        pip_requirements=[f"musicgen-lite=={__version__}", f"mlflow=={VERSION}"],
        metadata={OURS: __version__, **file.metadata},
        model_config=dict(file.options),
    )
