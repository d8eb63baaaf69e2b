"""MLflow's model registry: one version per result, and for each type of model an alias of its newest version."""

import random
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

from musicgen_lite.tracking.connection import Connection
from musicgen_lite.tracking.logged import KIND, RESULT

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import ModelVersion

ATTEMPTS = 12
RETRIED_S = 20.0  # no further attempt after that
Value = TypeVar("Value")


def register(
    connection: Connection, name: str, run_id: str, model: "LoggedModel", tags: Mapping[str, str]
) -> "ModelVersion":
    """The version of the model's result, made unless it is there, with the alias of its type on the newest of that type.

    tags: of the version, among them `model.type`.
    """
    client = connection.client
    _retried(lambda: _ensure_name(client, name))
    result = model.tags[RESULT]

    def version() -> "ModelVersion":
        return version_of(client, name, result) or client.create_model_version(
            name, model.artifact_location, run_id, tags={**tags, RESULT: result}, model_id=model.model_id
        )

    made = _retried(version)
    first = version_of(client, name, result) or made
    if first.version != made.version:  # two processes have registered the same result
        client.delete_model_version(name, made.version)
    _retried(lambda: _move_alias(client, name, tags[KIND]))
    return first


def version_of(client: "MlflowClient", name: str, result: str) -> "ModelVersion | None":
    """The version of a result."""
    found = client.search_model_versions(f"name = '{name}' and tags.{RESULT} = '{result}'")
    return min(found, key=_number) if found else None


def alias(kind: str) -> str:
    """The alias of the newest version of a type."""
    return f"latest-{kind}"


def _number(version: "ModelVersion") -> int:
    return int(version.version)


def _ensure_name(client: "MlflowClient", name: str) -> None:
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)


def _move_alias(client: "MlflowClient", name: str, kind: str) -> None:
    """Set the alias, until it is on the newest version: another process may have registered one meanwhile."""
    while True:
        newest = max(client.search_model_versions(f"name = '{name}' and tags.`{KIND}` = '{kind}'"), key=_number)
        if str(client.get_registered_model(name).aliases.get(alias(kind))) == str(newest.version):
            return
        client.set_registered_model_alias(name, alias(kind), newest.version)


def _retried(action: "Callable[[], Value]") -> Value:
    """What `action` gives; again where it fails, since others may write to the registry at the same moment."""
    from mlflow.exceptions import MlflowException

    start = time.monotonic()
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return action()
        except MlflowException:
            if attempt == ATTEMPTS or time.monotonic() - start > RETRIED_S:
                raise
            time.sleep(random.uniform(0.01, 0.05 * attempt))
    raise AssertionError("the last attempt returns or raises")
