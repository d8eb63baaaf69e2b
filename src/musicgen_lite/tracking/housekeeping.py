"""Artifacts on disk that no row needs any more: of rows that were deleted, and of rows that no database knows."""

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
    """`folder`: where the artifacts of a local database lie, None for a server, which keeps its own.

    `deleted`: ids of rows that were deleted in MLflow, which can still restore them; `unknown`: folders of rows that
    stand in no database beside `folder`.
    """

    folder: Path | None
    deleted: list[str]
    unknown: list[Path]

    @property
    def folders(self) -> list[Path]:
        deleted = [self.folder / run_id for run_id in self.deleted] if self.folder else []
        return [folder for folder in deleted if folder.is_dir()] + self.unknown


def leftovers(tracking: TrackingParams, root: str | Path, seconds: float) -> Leftovers:
    """What lies there for nothing, and did so for `seconds`. Nothing is said to be unknown where there is no database."""
    place = locate(tracking, root)
    if place.database is None:
        return Leftovers(None, [], [])
    folder = place.database.parent / ARTIFACTS
    # Folders before rows: what a run makes in between is then known.
    found = [path for path in sorted(folder.glob("*")) if path.is_dir() and RUN_ID.fullmatch(path.name)]
    old = [path for path in found if time.time() - path.stat().st_mtime > seconds]
    if not place.database.exists():
        return Leftovers(folder, [], [])
    known = {row for database in sorted(folder.parent.glob("*.db")) for row in _rows(database)}
    before = (time.time() - seconds) * 1000
    query = "SELECT run_uuid FROM runs WHERE lifecycle_stage = 'deleted' AND deleted_time <= ?"
    return Leftovers(folder, _ask(place.database, query, before), [path for path in old if path.name not in known])


def _rows(database: Path) -> list[str]:
    """Ids of all rows, deleted ones too; none of a database that is not MLflow's."""
    try:
        return _ask(database, "SELECT run_uuid FROM runs")
    except sqlite3.OperationalError:
        return []


def _ask(database: Path, query: str, *values: float) -> list[str]:
    with contextlib.closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True, timeout=60)) as opened:
        return [row for (row,) in opened.execute(query, values)]


def discard(tracking: TrackingParams, root: str | Path, found: Leftovers) -> None:
    """Remove leftovers for good: `mlflow gc` the deleted rows with what they hold, and the folders that no row has."""
    if found.deleted:
        place = connect(locate(tracking, root)).place  # rows of a copied repository no longer point to the original
        _gc(place, found.deleted)
    for folder in filter(Path.exists, found.folders):  # mlflow gc leaves the folder itself
        shutil.rmtree(folder)


def _gc(place: Place, run_ids: list[str]) -> None:
    command = [sys.executable, "-m", "mlflow", "gc", "--backend-store-uri", place.uri, "--tracking-uri", place.uri]
    done = subprocess.run(
        [*command, "--run-ids", ",".join(run_ids)],
        env={**os.environ, **QUIET}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise UserError(f"{place.database}: mlflow gc failed; nothing else was removed. It said: {done.stderr[-2000:]}")
