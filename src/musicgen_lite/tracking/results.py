"""Finished runs, loaded with everything that a comparison shows: scores, curves, tables by prompt, sounds."""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from musicgen_lite.errors import UserError
from musicgen_lite.io.files import read_json
from musicgen_lite.params import TrackingParams
from musicgen_lite.tracking.connection import (
    DATABASE,
    OPTIONAL,
    Connection,
    Place,
    Unreachable,
    connect,
    errors_as_unreachable,
    locate,
)
from musicgen_lite.tracking.runs import COMPLETE

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun

CURVES = ("train_loss", "val_loss")
SCORES = ("nll", "reference", "audio")
SOUNDS = "sounds.parquet"
DRAWS = "draws.parquet"
NO_RUN = "no finished run yet: `dvc repro` logs the first"
LISTED = 8  # runs that a message lists


@dataclass(frozen=True)
class Result:
    """One finished run.

    scores: details of the stages by name (nll, reference, audio); tables: one per score, with one row per clip
    draws: one column of bootstrap resamples per distance; curves: one mapping per step, with `step` and losses
    sounds: one row per sound (prompt, caption, fixed, kind, sound: encoded bytes), or None for an older run without them
    """

    run_id: str
    name: str
    started: datetime
    params: dict[str, str]
    tags: dict[str, str]
    metrics: dict[str, float]
    scores: dict[str, Any]
    tables: dict[str, pd.DataFrame]
    draws: pd.DataFrame
    curves: tuple[dict[str, float], ...]
    sounds: pd.DataFrame | None


def read(tracking: TrackingParams, root: str | Path, wanted: Sequence[str] = ()) -> list[Result]:
    """The finished runs that `wanted` names, in that order; without names the newest of each model type.

    A run is named by its name, its id, or the beginning of its id that no other run has. Raises UserError, naming
    candidates, where a name is unknown or ambiguous, and Unreachable where tracking does not answer.
    """
    place = existing(tracking, root, "give the server of tracking.uri with --tracking")
    with reading(place) as connection:
        return [_load(connection, run) for run in choose(complete_runs(connection), wanted)]


@dataclass(frozen=True)
class Listed:
    """A finished run in a list: without its tables and sounds."""

    run_id: str
    name: str
    model: str
    started: datetime
    metrics: dict[str, float]


def finished(tracking: TrackingParams, root: str | Path) -> list[Listed]:
    """Every finished run, newest first. Raises what `read` raises, and UserError where there is none."""
    with reading(existing(tracking, root, "give the server of tracking.uri with --tracking")) as connection:
        runs = complete_runs(connection)
    if not runs:
        raise UserError(NO_RUN)
    return [
        Listed(
            run.info.run_id,
            run.info.run_name,
            run.data.params.get("model.type", "?"),
            _started(run),
            dict(run.data.metrics),
        )
        for run in runs
    ]


@contextlib.contextmanager
def reading(place: Place) -> Iterator[Connection]:
    """A connection to read from; where it fails, `tracking.required` is no remedy."""
    try:
        connection = connect(place)
        with errors_as_unreachable(place):
            yield connection
    except Unreachable as error:
        raise Unreachable(str(error).replace(f"change tracking.uri{OPTIONAL}", "or change tracking.uri")) from error


def existing(tracking: TrackingParams, root: str | Path, otherwise: str) -> Place:
    """The place of the runs; UserError where there is no database yet."""
    place = locate(tracking, root)
    if place.database and not place.database.exists():
        raise UserError(
            f"{place.database}: no {DATABASE} here; run in the root of the repository after `dvc repro`, or {otherwise}"
        )
    return place


def complete_runs(connection: Connection) -> "list[MlflowRun]":
    """Every complete run, newest first."""
    condition, found, token = f"attributes.status = 'FINISHED' and tags.{COMPLETE} = 'true'", [], None
    while True:
        page = connection.client.search_runs(
            [connection.experiment_id], condition, order_by=["attributes.start_time DESC"], page_token=token
        )
        found += list(page)
        token = page.token
        if not token:
            return found


def choose(runs: "Sequence[MlflowRun]", wanted: Sequence[str]) -> "list[MlflowRun]":
    """The runs that `wanted` names among `runs`, which are given newest first; see `read`."""
    if not runs:
        raise UserError(NO_RUN)
    if not wanted:
        newest = list({run.data.params.get("model.type"): run for run in reversed(runs)}.values())
        newest = newest if len(newest) > 1 else list(runs[:2])
        return sorted(newest, key=lambda run: run.info.start_time)
    chosen = [_named(runs, name) for name in wanted]
    ids = [run.info.run_id for run in chosen]
    for name, run_id in zip(wanted, ids, strict=True):
        if ids.count(run_id) > 1:
            raise UserError(f"{name!r}: the run {run_id[:8]} is named twice; a run is compared with others")
    return chosen


def _named(runs: "Sequence[MlflowRun]", name: str) -> "MlflowRun":
    same_id = [run for run in runs if run.info.run_id == name]
    same_name = [run for run in runs if run.info.run_name == name]
    found = same_id or same_name or [run for run in runs if name and run.info.run_id.startswith(name.lower())]
    if len(found) == 1:
        return found[0]
    if found:
        raise UserError(f"{name!r}: {len(found)} runs have this name or id, give more of an id: {_listed(found)}")
    raise UserError(f"{name!r}: no finished run has this name or id; the newest are {_listed(runs)}")


def _listed(runs: "Sequence[MlflowRun]") -> str:
    parts = [
        f"{run.info.run_name} ({run.info.run_id[:8]}, model {run.data.params.get('model.type', '?')}, "
        f"{_started(run):%Y-%m-%d %H:%M})"
        for run in runs[:LISTED]
    ]
    return ", ".join(parts) + (f" and {len(runs) - LISTED} more" if len(runs) > LISTED else "")


def _started(run: "MlflowRun") -> datetime:
    return datetime.fromtimestamp(run.info.start_time / 1000).astimezone()


def _load(connection: Connection, run: "MlflowRun") -> Result:
    client, run_id = connection.client, run.info.run_id
    with tempfile.TemporaryDirectory() as folder:

        def fetched(path: str) -> Path:
            return Path(client.download_artifacts(run_id, path, folder))

        present = {item.path for item in client.list_artifacts(run_id)}
        if not {"scores", "tables"} <= present:
            raise UserError(
                f"run {run.info.run_name} ({run_id[:8]}): "
                f"{lacking(connection.place, run.info.artifact_uri, 'no scores or no tables')}"
            )
        scores, tables = fetched("scores"), fetched("tables")
        draws = scores / DRAWS
        return Result(
            run_id=run_id,
            name=run.info.run_name,
            started=_started(run),
            params=dict(run.data.params),
            tags=dict(run.data.tags),
            metrics=dict(run.data.metrics),
            scores={name: read_json(scores / f"{name}.json") for name in SCORES},
            tables={file.stem: _table(file) for file in sorted(tables.glob("*.json"))},
            draws=pd.read_parquet(draws) if draws.exists() else pd.DataFrame(),
            curves=_curves(connection, run_id),
            # Older runs have FLAC, under that name.
            sounds=pd.read_parquet(fetched(SOUNDS)).rename(columns={"flac": "sound"}) if SOUNDS in present else None,
        )


def lacking(place: Place, uri: str, what: str) -> str:
    """What to do about a run whose artifacts hold `what`."""
    if place.artifacts and uri.startswith("/") and not uri.startswith(f"{place.artifacts}/"):
        return f"its artifacts are not in {uri}, where it was written; copy them to {place.artifacts}, where they belong now"
    return f"its artifacts ({uri}) hold {what}; delete the run in MLflow, and `dvc repro` on its commit logs it again"


def _table(file: Path) -> pd.DataFrame:
    """What `entries.log_files` wrote."""
    content = read_json(file)
    return pd.DataFrame(content["data"], columns=content["columns"])


def _curves(connection: Connection, run_id: str) -> tuple[dict[str, float], ...]:
    points: dict[int, dict[str, float]] = {}
    for name in CURVES:
        for point in connection.client.get_metric_history(run_id, name):
            points.setdefault(point.step, {"step": float(point.step)})[name] = point.value
    return tuple(points[step] for step in sorted(points))
