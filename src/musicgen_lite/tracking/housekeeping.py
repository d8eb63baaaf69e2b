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
from musicgen_lite.tracking.connection import ARTIFACTS, QUIET, Place, connect, locate

RUN_ID = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True)
class Leftovers:
    """`folder`: the artifacts of a local database, None for a server, which keeps its own.

    `deleted`: ids of runs that were deleted in MLflow, which can still restore them; `unknown`: folders of runs that are
    in no database beside `folder`.
    """

    folder: Path | None
    deleted: list[str]
    unknown: list[Path]

    @property
    def folders(self) -> list[Path]:
        deleted = [self.folder / run_id for run_id in self.deleted] if self.folder else []
        return [folder for folder in deleted if folder.is_dir()] + self.unknown


def leftovers(tracking: TrackingParams, root: str | Path, seconds: float) -> Leftovers:
    """Artifacts that no run needs and nobody wrote to for `seconds`; none where there is no database."""
    place = locate(tracking, root)
    if place.database is None:
        return Leftovers(None, [], [])
    folder = place.database.parent / ARTIFACTS
    # Folders first: a run that starts in between is then in the database.
    found = [path for path in sorted(folder.glob("*")) if path.is_dir() and RUN_ID.fullmatch(path.name)]
    old = [path for path in found if time.time() - path.stat().st_mtime > seconds]
    if not place.database.exists():
        return Leftovers(folder, [], [])
    known = {run for database in sorted(folder.parent.glob("*.db")) for run in _run_ids(database)}
    before = (time.time() - seconds) * 1000
    query = "SELECT run_uuid FROM runs WHERE lifecycle_stage = 'deleted' AND deleted_time <= ?"
    return Leftovers(folder, _query(place.database, query, before), [path for path in old if path.name not in known])


def _run_ids(database: Path) -> list[str]:
    """Ids of all runs, deleted ones included; none for a database that is not MLflow's."""
    try:
        return _query(database, "SELECT run_uuid FROM runs")
    except sqlite3.OperationalError:
        return []


def _query(database: Path, query: str, *values: float) -> list[str]:
    with contextlib.closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True, timeout=60)) as opened:
        return [run for (run,) in opened.execute(query, values)]


def discard(tracking: TrackingParams, root: str | Path, found: Leftovers) -> None:
    """Remove leftovers for good: deleted runs by `mlflow gc`, and the folders of unknown ones."""
    if found.deleted:
        place = connect(locate(tracking, root)).place  # runs of a copied repository no longer point to the original
        _gc(place, found.deleted)
    for folder in filter(Path.exists, found.folders):  # mlflow gc leaves the empty folder
        shutil.rmtree(folder)


def _gc(place: Place, run_ids: list[str]) -> None:
    command = [sys.executable, "-m", "mlflow", "gc", "--backend-store-uri", place.uri, "--tracking-uri", place.uri]
    done = subprocess.run(
        [*command, "--run-ids", ",".join(run_ids)],
        env={**os.environ, **QUIET}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise UserError(f"{place.database}: mlflow gc failed; nothing else was removed. It said: {done.stderr[-2000:]}")
