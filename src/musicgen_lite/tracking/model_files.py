"""The files of tracked models: of finished runs, and of the registry's versions and aliases."""

import re
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from musicgen_lite.errors import UserError
from musicgen_lite.io.files import atomic_path
from musicgen_lite.io.hashing import short_digest
from musicgen_lite.params import TrackingParams
from musicgen_lite.tracking.connection import Connection, Place, locate
from musicgen_lite.tracking.entries import ABSENT
from musicgen_lite.tracking.logged import FILE, OURS, find_models, outputs
from musicgen_lite.tracking.results import choose, complete_runs, existing, lacking, reading

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun
    from mlflow.entities.model_registry import ModelVersion

SCHEME = "models:/"
URI = re.compile(r"models:/(?P<name>[^/@]+)(@(?P<alias>[^/@]+)|/(?P<version>\d+|latest))")
LOGGED = re.compile(r"models:/(m-[0-9a-f]{32})")
ALLOWED = "models:/NAME@ALIAS, models:/NAME/VERSION, models:/NAME/latest and models:/ID of a logged model"
OLDER = "model/model.safetensors"  # an artifact of runs from before there were logged models
FETCHED = "cache/models"  # models of a server, kept below the root
LISTED = 8  # names that a message lists


@dataclass(frozen=True)
class TrackedModel:
    """The file of a model, and the id of its run; None where that is not known."""

    path: Path
    run_id: str | None


def tracked_model(tracking: TrackingParams, root: str | Path, wanted: str) -> TrackedModel:
    """The model of a models:/ URI, or of the finished run that `wanted` names as in `read`.

    Its file is where MLflow keeps it, or a copy of a server's. Raises what `read` raises, and UserError where there is no such
    model, version or alias, and for a model of another project.
    """
    place = existing(tracking, root, "set tracking.uri")
    with reading(place) as connection:
        if wanted.startswith(SCHEME):
            return _registered(connection, wanted)
        (run,) = choose(complete_runs(connection), [wanted])
        return TrackedModel(_of_run(connection, run), run.info.run_id)


def model_file(tracking: TrackingParams, root: str | Path, wanted: str) -> Path:
    """The file of `tracked_model`."""
    return tracked_model(tracking, root, wanted).path


def run_of(tracking: TrackingParams, root: str | Path, sha256: str, preferred: str | None = None) -> str | None:
    """The id of the newest finished run whose model has this digest, but of `preferred` where that one is finished.

    A version of the registry may name a run that was deleted, and then written again under another id. None where there is
    no such run, or no database yet.
    """
    place = locate(tracking, root)
    if place.database and not place.database.exists():
        return None
    with reading(place) as connection:
        runs = [run.info.run_id for run in complete_runs(connection)]
        if preferred in runs:
            return preferred
        logged = {model.model_id for model in find_models(connection, "sha256", sha256)}
        return next((run_id for run_id in runs if logged and logged & set(outputs(connection, run_id))), None)


def _of_run(connection: Connection, run: "MlflowRun") -> Path:
    place, client, run_id, uri = connection.place, connection.client, run.info.run_id, run.info.artifact_uri
    for model_id in outputs(connection, run_id):
        location = client.get_logged_model(model_id).artifact_location
        if found := _file(place, location, FILE):
            return found
        uri = location
    if found := _file(place, run.info.artifact_uri, OLDER):
        return found
    raise UserError(f"run {run.info.run_name} ({run_id[:8]}): {lacking(place, uri, 'no model')}")


def _file(place: Place, location: str, path: str) -> Path | None:
    """The file at `path` of the artifacts at `location`, fetched unless it is on this machine; None where there is none."""
    if location.startswith("/"):
        local = Path(location) / path
        return local if local.is_file() else None
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    kept = place.root / FETCHED / short_digest(location) / Path(path).name  # what is logged once does not change
    if not kept.is_file():
        with tempfile.TemporaryDirectory() as folder:
            try:
                fetched = download_artifacts(f"{location}/{path}", dst_path=folder, tracking_uri=place.uri)
            except (MlflowException, OSError) as error:
                if _absent(error):
                    return None
                raise
            with atomic_path(kept) as part:
                shutil.copy(fetched, part)
    return kept


def _absent(error: Exception) -> bool:
    """Whether an artifact is not there: each store has words of its own for that."""
    code = getattr(error, "error_code", "")
    return isinstance(error, FileNotFoundError) or code in (ABSENT, "NOT_FOUND") or "404" in str(error)


def _registered(connection: Connection, uri: str) -> TrackedModel:
    location, run_id = _logged(connection, uri) if LOGGED.fullmatch(uri) else _location(connection, uri)
    _check_ours(connection.place, uri, location)
    path = _file(connection.place, location, FILE)
    if path is None:
        raise UserError(
            f"{uri}: its artifacts ({location}) hold no {FILE}; register a model that the stage `track` logged"
        )
    return TrackedModel(path, run_id or None)


def _logged(connection: Connection, uri: str) -> tuple[str, str | None]:
    """Where the artifacts of a logged model are, and its run."""
    from mlflow.exceptions import MlflowException

    try:
        model = connection.client.get_logged_model(uri.removeprefix(SCHEME))
    except MlflowException as error:
        if error.error_code != ABSENT:
            raise
        raise UserError(f"{uri}: {connection.place.address} has no logged model of this id") from None
    return model.artifact_location, model.source_run_id


def _location(connection: Connection, uri: str) -> tuple[str, str | None]:
    """Where the artifacts of a registered version are, and its run."""
    parts = URI.fullmatch(uri)
    if not parts:
        raise UserError(f"{uri}: not the address of a model in MLflow; allowed are {ALLOWED}")
    version = _version(connection, uri, **parts.groupdict())
    return connection.client.get_model_version_download_uri(version.name, version.version), version.run_id


def _version(connection: Connection, uri: str, name: str, alias: str | None, version: str | None) -> "ModelVersion":
    """The version of the registry that a URI names. UserError names what is there instead."""
    from mlflow.exceptions import MlflowException

    client = connection.client
    try:
        model = client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != ABSENT:
            raise
        names = [one.name for one in client.search_registered_models(max_results=LISTED)]
        raise UserError(
            f"{uri}: {connection.place.address} has no registered model {name!r}; it has {_listed(names)}"
        ) from None
    if alias is not None:
        if alias not in model.aliases:
            raise UserError(f"{uri}: {name} has no alias {alias!r}; it has {_listed(model.aliases)}")
        version = str(model.aliases[alias])
    found = {int(one.version): one for one in client.search_model_versions(f"name = '{name}'")}
    number = max(found, default=0) if version == "latest" else int(version or 0)
    if number not in found:
        raise UserError(f"{uri}: {name} has no version {version}; it has {_listed(map(str, sorted(found)))}")
    return found[number]


def _listed(names: Iterable[str]) -> str:
    found = list(names)
    return ", ".join(found[-LISTED:]) or "none"


def _check_ours(place: Place, uri: str, location: str) -> None:
    """Raise UserError unless the MLflow model at `location` is one of this project."""
    from mlflow.models import Model

    described = _file(place, location, "MLmodel")
    if described is None:
        raise UserError(
            f"{uri}: its artifacts ({location}) are not there; copy them back, or delete the version in MLflow"
        )
    model = Model.load(str(described))
    if OURS not in (model.metadata or {}):
        raise UserError(
            f"{uri}: a model of another kind ({', '.join(sorted(model.flavors))}), not of this project; give one that the "
            "stage `track` registered"
        )
