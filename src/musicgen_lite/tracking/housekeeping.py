"""Artifacts on disk that no run needs: of deleted runs, and of runs that are in no database."""

import contextlib
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from musicgen_lite.errors import UserError
from musicgen_lite.params import TrackingParams
from musicgen_lite.tracking.connection import ARTIFACTS, QUIET, Connection, Place, connect, locate
from musicgen_lite.tracking.logged import RESULT

RUN_ID = re.compile("[0-9a-f]{32}")
MODEL_ID = re.compile("m-[0-9a-f]{32}")
MODELS = "models"  # MLflow's folder of logged models, beside those of the runs
# Logged models of results that neither a run that is there has among its outputs, nor the registry has as a version.
UNUSED_MODELS = """
    SELECT logged_models.model_id FROM logged_models
    JOIN logged_model_tags ON logged_model_tags.model_id = logged_models.model_id AND tag_key = ?
    WHERE last_updated_timestamp_ms <= ? AND NOT EXISTS (
        SELECT 1 FROM inputs JOIN runs ON runs.run_uuid = inputs.source_id AND runs.lifecycle_stage = 'active'
        WHERE inputs.source_type = 'RUN_OUTPUT' AND inputs.destination_id = logged_models.model_id
    ) AND NOT EXISTS (
        SELECT 1 FROM model_versions WHERE current_stage != 'Deleted_Internal'
        AND COALESCE(storage_location, source) LIKE '%/' || logged_models.model_id || '/%'
    )
"""


@dataclass(frozen=True)
class Leftovers:
    """`folder`: the artifacts of a local database, None for a server, which keeps its own.

    `deleted`: ids of runs that were deleted in MLflow, which can still restore them; `models`: ids of logged models whose runs
    were deleted and that are not registered; `unknown`: folders of runs and models that are in no database beside `folder`.
    """

    folder: Path | None
    deleted: list[str]
    models: list[str]
    unknown: list[Path]

    @property
    def folders(self) -> list[Path]:
        if self.folder is None:
            return []
        deleted = [self.folder / run_id for run_id in self.deleted]
        models = [self.folder / MODELS / model_id for model_id in self.models]
        return [folder for folder in (*deleted, *models) if folder.is_dir()] + self.unknown


def leftovers(tracking: TrackingParams, root: str | Path, seconds: float) -> Leftovers:
    """Artifacts that no run needs and nobody wrote to for `seconds`; none where there is no database."""
    place = locate(tracking, root)
    if place.database is None:
        return Leftovers(None, [], [], [])
    folder = place.database.parent / ARTIFACTS
    # Folders first: a run that starts in between is then in the database.
    found = [*_folders(folder, RUN_ID), *_folders(folder / MODELS, MODEL_ID)]
    old = [path for path in found if time.time() - path.stat().st_mtime > seconds]
    if not place.database.exists():
        return Leftovers(folder, [], [], [])
    known = {one for database in sorted(folder.parent.glob("*.db")) for one in _ids(database)}
    before = (time.time() - seconds) * 1000
    query = "SELECT run_uuid FROM runs WHERE lifecycle_stage = 'deleted' AND deleted_time <= ?"
    return Leftovers(
        folder,
        deleted=_query(place.database, query, before),
        models=[
            one for one in _known(place.database, UNUSED_MODELS, RESULT, before) if (folder / MODELS / one).is_dir()
        ],
        unknown=[path for path in old if path.name not in known],
    )


def _folders(place: Path, name: re.Pattern[str]) -> list[Path]:
    return [path for path in sorted(place.glob("*")) if path.is_dir() and name.fullmatch(path.name)]


def _ids(database: Path) -> list[str]:
    """Ids of all runs and logged models, deleted ones included; none for a database that is not MLflow's."""
    return _known(database, "SELECT run_uuid FROM runs") + _known(database, "SELECT model_id FROM logged_models")


def _known(database: Path, query: str, *values: float | str) -> list[str]:
    """What `_query` gives; nothing where the database has no such table, as one of an older MLflow."""
    try:
        return _query(database, query, *values)
    except sqlite3.OperationalError:
        return []


def _query(database: Path, query: str, *values: float | str) -> list[str]:
    with contextlib.closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True, timeout=60)) as opened:
        return [one for (one,) in opened.execute(query, values)]


def discard(tracking: TrackingParams, root: str | Path, found: Leftovers) -> None:
    """Remove leftovers for good: deleted runs by `mlflow gc`, and the folders of models and of what is unknown."""
    if found.deleted:
        place = connect(locate(tracking, root)).place  # runs of a copied repository no longer point to the original
        _gc(place, found.deleted)
    if found.models:
        _delete_models(connect(locate(tracking, root)), found.models)
    for folder in filter(Path.exists, found.folders):  # mlflow gc leaves the empty folder
        shutil.rmtree(folder)


def _delete_models(connection: Connection, model_ids: list[str]) -> None:
    from mlflow.exceptions import MlflowException

    for model_id in model_ids:
        with contextlib.suppress(MlflowException):  # deleted before
            connection.client.delete_logged_model(model_id)


def _gc(place: Place, run_ids: list[str]) -> None:
    command = [sys.executable, "-m", "mlflow", "gc", "--backend-store-uri", place.uri, "--tracking-uri", place.uri]
    done = subprocess.run(
        [*command, "--run-ids", ",".join(run_ids)],
        env={**os.environ, **QUIET}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise UserError(f"{place.database}: mlflow gc failed; nothing else was removed. It said: {done.stderr[-2000:]}")
