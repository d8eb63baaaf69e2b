"""The MLflow run of one result: found, claimed or created, and filled from files.

A result is a training together with one way of sampling and scoring it. The first result of a training takes the run
that the training opened; every other result gets a run of its own, which repeats the training's parameters and curves.
MLflow lets a parameter be written once: writing `score.key` is therefore a claim that only one process can win.
"""

import contextlib
import hashlib
import json
import os
import sqlite3
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musicgen_lite.params import TrackingParams
from musicgen_lite.tracking import entries, provenance
from musicgen_lite.tracking.connection import (
    NO_ANSWER,
    TIMEOUT_S,
    Connection,
    Place,
    Unreachable,
    connect,
    errors_as_unreachable,
    locate,
)
from musicgen_lite.tracking.logged import ModelFile, log_model
from musicgen_lite.tracking.registry import register
from musicgen_lite.tracking.training import TRAINED_BY, warn

if TYPE_CHECKING:
    import pandas as pd

KEY = "score.key"
COMPLETE = "complete"
# Error codes of a lost claim: another result has it, or the run is gone. Other codes are errors.
LOST = ("INVALID_PARAMETER_VALUE", entries.ABSENT)


@dataclass(frozen=True)
class RunRef:
    """Where a run is: `run_id`, None if it could not be logged this time; `link`, for a person; `created`, by this call."""

    run_id: str | None
    name: str
    link: str
    created: bool


def _key(scoring_params: Mapping[str, Any], key_parts: Sequence[str]) -> str:
    text = json.dumps([entries.flatten(scoring_params), list(key_parts)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def find(
    tracking: TrackingParams,
    root: str | Path,
    run_record: Mapping[str, Any],
    scoring_params: Mapping[str, Any],
    key_parts: Sequence[str],
) -> RunRef | None:
    """The complete run of this result, its model registered, in milliseconds and without loading MLflow.

    None: not known to exist; `close` then looks again, and does nothing twice.
    """
    place, key = locate(tracking, root), _key(scoring_params, key_parts)
    wanted = (run_record["id"], key, _registration(tracking))
    with contextlib.suppress(sqlite3.Error, KeyError, *NO_ANSWER):
        if place.database:
            return _find_in_sqlite(place, place.database, *wanted)
        if place.uri.startswith("http"):
            return _find_on_server(place, *wanted)
    return None


def _find_in_sqlite(place: Place, database: Path, trained_by: str, key: str, registration: str) -> RunRef | None:
    query = """
        SELECT runs.run_uuid, runs.name, runs.experiment_id FROM runs
        JOIN experiments ON experiments.experiment_id = runs.experiment_id AND experiments.name = ?
        JOIN params ON params.run_uuid = runs.run_uuid AND params.key = ? AND params.value = ?
        JOIN tags AS training ON training.run_uuid = runs.run_uuid AND training.key = ? AND training.value = ?
        JOIN tags AS state ON state.run_uuid = runs.run_uuid AND state.key = ? AND state.value = 'true'
        JOIN tags AS registration ON registration.run_uuid = runs.run_uuid AND registration.key = ?
        WHERE runs.lifecycle_stage = 'active' AND experiments.lifecycle_stage = 'active' ORDER BY runs.start_time
    """
    values = (place.experiment, KEY, key, TRAINED_BY, trained_by, COMPLETE, registration)
    address = f"file:{urllib.parse.quote(str(database))}?mode=ro"
    with contextlib.closing(sqlite3.connect(address, uri=True, timeout=TIMEOUT_S)) as connection:
        found = connection.execute(query, values).fetchone()
    return RunRef(found[0], found[1], place.link(str(found[2]), found[0]), created=False) if found else None


def _ask(place: Place, path: str, body: Mapping[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        f"{place.uri}/api/2.0/mlflow/{path}", data, headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
        return json.load(answer)


def _find_on_server(place: Place, trained_by: str, key: str, registration: str) -> RunRef | None:
    name = urllib.parse.quote(place.experiment)
    experiment_id = _ask(place, f"experiments/get-by-name?experiment_name={name}")["experiment"]["experiment_id"]
    condition = f"{_condition(trained_by, key)} and tags.{COMPLETE} = 'true' and tags.`{registration}` != ''"
    answer = _ask(place, "runs/search", {"experiment_ids": [experiment_id], "filter": condition, "max_results": 1})
    for run in answer.get("runs", []):
        info = run["info"]
        return RunRef(info["run_id"], info["run_name"], place.link(experiment_id, info["run_id"]), created=False)
    return None


def _condition(trained_by: str, key: str) -> str:
    return f"tags.{TRAINED_BY} = '{trained_by}' and tags.`{KEY}` = '{key}'"


def close(
    tracking: TrackingParams,
    root: str | Path,
    run_record: Mapping[str, Any],
    *,
    curves: Sequence[Mapping[str, Any]],
    scoring_params: Mapping[str, Any],
    key_parts: Sequence[str],
    metrics: Mapping[str, float],
    tables: Mapping[str, "pd.DataFrame"],
    audio: Mapping[str, bytes],
    images: Mapping[str, bytes],
    files: Mapping[str, Path],
    tags: Mapping[str, str],
    model: ModelFile | None = None,
) -> RunRef:
    """Log a result to its run, from where an earlier attempt stopped; a second call changes nothing.

    run_record: the record that `begin` gave (run.json).
    curves: one mapping per validation with `step` and numbers; points that the run has are not repeated.
    scoring_params: nested parameters of sampling and scoring; with `key_parts` (digests of samples and of the scoring
    code) they identify a result of the training.
    tables, audio, images, files: artifacts by path. model: logged as an MLflow model, and registered under
    `tracking.registered_model` unless that is empty.
    The run becomes FINISHED, and is tagged complete, once it has everything; then its model is registered. Where the server
    or the registry cannot be reached, raises Unreachable (a UserError) if `tracking.required` is true; else prints a
    warning, and `run_id` is None unless the run is complete.
    """
    place, key = locate(tracking, root), _key(scoring_params, key_parts)
    ref = RunRef(None, run_record["name"], "not logged yet: `dvc repro` logs it when tracking answers", False)
    try:
        connection = connect(place)
        with errors_as_unreachable(place), place.lock():
            run_id, created = _obtain(connection, run_record, key)
            run = connection.client.get_run(run_id)
            result = f"{run_record['id']}-{key}"
            if run.data.tags.get(COMPLETE) != "true":
                params = {**run_record["params"], **entries.flatten(scoring_params), KEY: key}
                entries.log_parameters(connection, run_id, params, {**_tags(run_record), KEY: key, **tags})
                entries.log_curves(connection, run_id, curves)
                logged = log_model(connection, run_id, result, model) if model else None
                entries.log_scores(connection, run, metrics, logged.model_id if logged else None)
                entries.log_files(connection, run_id, {**audio, **images}, files, tables)
                connection.client.set_terminated(run_id, "FINISHED")
                connection.client.set_tag(run_id, COMPLETE, "true")
            ref = RunRef(run_id, run.info.run_name, place.link(connection.experiment_id, run_id), created)
            registered = _registration(tracking) in run.data.tags
            if tracking.registered_model and not registered and model:
                _register(connection, tracking, run_id, result, model)
            elif (
                tracking.registered_model and not registered
            ):  # another system's: there is nothing that `find` has to wait for
                connection.client.set_tag(run_id, _registration(tracking), "none")
    except Unreachable as error:
        if tracking.required:
            raise
        warn(error)
    return ref


def _registration(tracking: TrackingParams) -> str:
    """The tag of a run whose model was registered: it holds the version."""
    return f"registered.{tracking.registered_model}" if tracking.registered_model else COMPLETE


def _register(connection: Connection, tracking: TrackingParams, run_id: str, result: str, model: ModelFile) -> None:
    logged = log_model(connection, run_id, result, model)
    version = register(connection, tracking.registered_model, run_id, logged, model.tags)
    connection.client.set_tag(run_id, _registration(tracking), version.version)


def _tags(run_record: Mapping[str, Any]) -> dict[str, str]:
    trained = {TRAINED_BY: run_record["id"], "train.started": run_record["started"]}
    source = {
        "mlflow.source.name": "dvc",
        "mlflow.source.git.commit": run_record["tags"].get("train.commit", "none"),
        "mlflow.user": os.environ.get("USER") or "unknown",
    }
    return {**run_record["tags"], **trained, **source, **provenance.tags("score"), **provenance.digests()}


def _obtain(connection: Connection, run_record: Mapping[str, Any], key: str) -> tuple[str, bool]:
    """The id of this result's run (the training's own, an earlier one, or a new one), and whether it is new."""
    own = run_record["run_id"]
    run = entries.active_run(connection, own) if own else None
    if run is not None and _claim(connection, own, key):
        if run.data.tags.get(COMPLETE) != "true" and provenance.experiment_name():
            # Another experiment may have done this training: its own run must find its name free.
            connection.client.update_run(own, name=provenance.experiment_name())
        return own, False
    client, experiments = connection.client, [connection.experiment_id]
    found = client.search_runs(experiments, _condition(run_record["id"], key), order_by=["attributes.start_time"])
    if found:
        return found[0].info.run_id, False
    others = client.search_runs(experiments, f"tags.{TRAINED_BY} = '{run_record['id']}'")
    name = provenance.experiment_name() or run_record["name"]
    if any(run.info.run_name == name for run in others):
        name = f"{name}-{key[:6]}"
    run = client.create_run(connection.experiment_id, run_name=name, tags={TRAINED_BY: run_record["id"], KEY: key})
    return run.info.run_id, True


def _claim(connection: Connection, run_id: str, key: str) -> bool:
    """Whether this result owns the run: the first to write the key keeps it."""
    from mlflow.exceptions import MlflowException

    try:
        connection.client.log_param(run_id, KEY, key)
    except MlflowException as error:
        if error.error_code in LOST:
            return False
        raise
    return True
