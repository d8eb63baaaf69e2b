"""A database that was moved or copied with its repository: MLflow stores absolute paths, which are updated."""

import contextlib
import sqlite3
from dataclasses import dataclass
from pathlib import Path

EXPERIMENTS = """
    SELECT experiment_id, artifact_location FROM experiments
    WHERE artifact_location LIKE '/%/' || :name AND artifact_location != :here
"""
RUNS = """
    SELECT run_uuid, artifact_uri, status = 'FINISHED' AND lifecycle_stage = 'active' FROM runs
    WHERE artifact_uri LIKE '/%/' || :name || '/' || run_uuid || '/artifacts'
    AND artifact_uri != :here || '/' || run_uuid || '/artifacts'
"""
MODELS = """
    SELECT model_id, artifact_location FROM logged_models
    WHERE artifact_location LIKE '/%/' || :name || '/models/' || model_id || '/artifacts'
    AND artifact_location != :here || '/models/' || model_id || '/artifacts'
"""


@dataclass(frozen=True)
class Relocation:
    """`moved`: runs whose artifacts are here from now on; `left`: finished runs whose artifacts are still in `old`."""

    old: list[str]
    moved: int
    left: int


def relocate(database: Path, artifacts: Path) -> Relocation | None:
    """Point experiments, runs and models of a SQLite database to the folder `artifacts`; None where all do already.

    Only paths that end in that folder's name are changed: others are somebody's choice. A finished run or a model whose
    artifacts were not copied is left alone: nothing is written to it any more.
    """
    with contextlib.closing(sqlite3.connect(database, timeout=60)) as opened, opened:
        place = {"here": str(artifacts), "name": artifacts.name}
        experiments, runs = opened.execute(EXPERIMENTS, place).fetchall(), opened.execute(RUNS, place).fetchall()
        moved = [run for run, _, finished in runs if not finished or (artifacts / run).is_dir()]
        opened.executemany(
            "UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?",
            [(str(artifacts), experiment) for experiment, _ in experiments],
        )
        opened.executemany(
            "UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?",
            [(str(artifacts / run / "artifacts"), run) for run in moved],
        )
        _relocate_models(opened, artifacts, opened.execute(MODELS, place).fetchall())
    old = {place for _, place in experiments} | {str(Path(uri).parents[1]) for _, uri, _ in runs}
    return Relocation(sorted(old), len(moved), len(runs) - len(moved)) if experiments or moved else None


def _relocate_models(opened: sqlite3.Connection, artifacts: Path, models: list[tuple[str, str]]) -> None:
    """Point logged models, and the registry's versions of them, to where their files are now."""
    places = [(str(artifacts / "models" / model / "artifacts"), old) for model, old in models]
    there = [(new, old) for new, old in places if Path(new).is_dir()]
    for table, column in (
        ("logged_models", "artifact_location"),
        ("model_versions", "source"),
        ("model_versions", "storage_location"),
    ):
        opened.executemany(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", there)
