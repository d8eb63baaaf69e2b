"""The row of one result: found, claimed or made, and filled from files.

A result is a training together with one way of sampling and scoring it. The first result of a training takes the row
that the training opened; every other result gets a row of its own, which repeats the training's parameters and curve.
MLflow parameters are written once: writing `score.key` is therefore a claim that only one process can win.
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
    PATIENCE_S,
    Connection,
    Place,
    Unreachable,
    connect,
    faults_named,
    locate,
)
from musicgen_lite.tracking.training import TRAINED_BY, warn

if TYPE_CHECKING:
    import pandas as pd

KEY = "score.key"
COMPLETE = "complete"
# A claim is lost to another result, or the row is gone. Any other error is an error.
LOST = ("INVALID_PARAMETER_VALUE", entries.ABSENT)


@dataclass(frozen=True)
class Row:
    """A row in MLflow; `run_id` is None where it could not be written this time. `link` tells where to look."""

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
) -> Row | None:
    """The complete row of this result, in milliseconds and without loading MLflow.

    None means "not known to be there": `close` then finds out, and does nothing twice.
    """
    place, key = locate(tracking, root), _key(scoring_params, key_parts)
    with contextlib.suppress(sqlite3.Error, KeyError, *NO_ANSWER):
        if place.database:
            return _find_in_sqlite(place, place.database, run_record["id"], key)
        if place.uri.startswith("http"):
            return _find_on_server(place, run_record["id"], key)
    return None


def _find_in_sqlite(place: Place, database: Path, trained_by: str, key: str) -> Row | None:
    query = """
        SELECT runs.run_uuid, runs.name, runs.experiment_id FROM runs
        JOIN experiments ON experiments.experiment_id = runs.experiment_id AND experiments.name = ?
        JOIN params ON params.run_uuid = runs.run_uuid AND params.key = ? AND params.value = ?
        JOIN tags AS training ON training.run_uuid = runs.run_uuid AND training.key = ? AND training.value = ?
        JOIN tags AS state ON state.run_uuid = runs.run_uuid AND state.key = ? AND state.value = 'true'
        WHERE runs.lifecycle_stage = 'active' AND experiments.lifecycle_stage = 'active' ORDER BY runs.start_time
    """
    values = (place.experiment, KEY, key, TRAINED_BY, trained_by, COMPLETE)
    address = f"file:{urllib.parse.quote(str(database))}?mode=ro"
    with contextlib.closing(sqlite3.connect(address, uri=True, timeout=PATIENCE_S)) as connection:
        found = connection.execute(query, values).fetchone()
    return Row(found[0], found[1], place.link(str(found[2]), found[0]), created=False) if found else None


def _ask(place: Place, path: str, body: Mapping[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        f"{place.uri}/api/2.0/mlflow/{path}", data, headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        return json.load(answer)


def _find_on_server(place: Place, trained_by: str, key: str) -> Row | None:
    name = urllib.parse.quote(place.experiment)
    experiment_id = _ask(place, f"experiments/get-by-name?experiment_name={name}")["experiment"]["experiment_id"]
    condition = f"{_condition(trained_by, key)} and tags.{COMPLETE} = 'true'"
    answer = _ask(place, "runs/search", {"experiment_ids": [experiment_id], "filter": condition, "max_results": 1})
    for run in answer.get("runs", []):
        info = run["info"]
        return Row(info["run_id"], info["run_name"], place.link(experiment_id, info["run_id"]), created=False)
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
) -> Row:
    """Write the row of a result, wherever an earlier attempt stopped; a second call changes nothing.

    run_record: what `begin` gave (run.json).
    curves: one mapping per validation with `step` and numbers; points that the row holds already are not repeated.
    scoring_params: nested parameters of sampling and scoring; with `key_parts` (digests of samples and of the scoring
    code) they tell one result of a training from another.
    tables, audio, images, files: artifacts by path.
    The row becomes FINISHED, and is tagged complete, when everything is in it. Raises Unreachable (a UserError) where the server
    cannot be reached and `tracking.required` is true; otherwise that is a warning and the row's `run_id` is None.
    """
    place, key = locate(tracking, root), _key(scoring_params, key_parts)
    try:
        connection = connect(place)
        with faults_named(place), place.lock():
            run_id, created = _obtain(connection, run_record, key)
            run = connection.client.get_run(run_id)
            if run.data.tags.get(COMPLETE) == "true":
                return Row(run_id, run.info.run_name, place.link(connection.experiment_id, run_id), created=False)
            params = {**run_record["params"], **entries.flatten(scoring_params), KEY: key}
            entries.log_parameters(connection, run_id, params, {**_tags(run_record), KEY: key, **tags})
            entries.log_curves(connection, run_id, curves)
            entries.log_scores(connection, run, metrics)
            entries.log_files(connection, run_id, {**audio, **images}, files, tables)
            connection.client.set_terminated(run_id, "FINISHED")
            connection.client.set_tag(run_id, COMPLETE, "true")
    except Unreachable as error:
        if tracking.required:
            raise
        warn(error)
        return Row(None, run_record["name"], "not written yet: `dvc repro` writes it when tracking answers", False)
    return Row(run_id, run.info.run_name, place.link(connection.experiment_id, run_id), created)


def _tags(run_record: Mapping[str, Any]) -> dict[str, str]:
    trained = {TRAINED_BY: run_record["id"], "train.started": run_record["started"]}
    source = {
        "mlflow.source.name": "dvc",
        "mlflow.source.git.commit": run_record["tags"].get("train.commit", "none"),
        "mlflow.user": os.environ.get("USER") or "unknown",
    }
    return {**run_record["tags"], **trained, **source, **provenance.tags("score"), **provenance.digests()}


def _obtain(connection: Connection, run_record: Mapping[str, Any], key: str) -> tuple[str, bool]:
    """The row for this result: the training's own, one that was made before, or a new one. Also whether it is new."""
    own = run_record["run_id"]
    row = entries.active_run(connection, own) if own else None
    if row is not None and _claim(connection, own, key):
        if row.data.tags.get(COMPLETE) != "true" and provenance.experiment_name():
            # Another experiment may have trained for this one; it makes a row of its own, and is to find its name free.
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
    """Whether this result owns the row: the first to write the key does, and keeps it."""
    from mlflow.exceptions import MlflowException

    try:
        connection.client.log_param(run_id, KEY, key)
    except MlflowException as error:
        if error.error_code in LOST:
            return False
        raise
    return True
