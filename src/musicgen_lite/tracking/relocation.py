"""A database that was moved or copied with its repository: MLflow keeps absolute places, which are set to those of here."""

import contextlib
import sqlite3
from dataclasses import dataclass
from pathlib import Path

EXPERIMENTS = """
    SELECT experiment_id, artifact_location FROM experiments
    WHERE artifact_location LIKE '/%/' || :name AND artifact_location != :here
"""
ROWS = """
    SELECT run_uuid, artifact_uri, status = 'FINISHED' AND lifecycle_stage = 'active' FROM runs
    WHERE artifact_uri LIKE '/%/' || :name || '/' || run_uuid || '/artifacts'
    AND artifact_uri != :here || '/' || run_uuid || '/artifacts'
"""


@dataclass(frozen=True)
class Relocation:
    """`moved`: how many rows have their artifacts here from now on; `left`: how many finished rows still have them in `old`."""

    old: list[str]
    moved: int
    left: int


def relocate(database: Path, artifacts: Path) -> Relocation | None:
    """Let experiments and rows of a SQLite database keep their artifacts in the folder `artifacts`; None where they all did.

    What lies elsewhere by somebody's choice stays: only places that end in the name of that folder are changed. So does a
    finished row whose artifacts were not brought along: nothing is written to it any more.
    """
    with contextlib.closing(sqlite3.connect(database, timeout=60)) as opened, opened:
        place = {"here": str(artifacts), "name": artifacts.name}
        experiments, rows = opened.execute(EXPERIMENTS, place).fetchall(), opened.execute(ROWS, place).fetchall()
        moved = [run for run, _, finished in rows if not finished or (artifacts / run).is_dir()]
        opened.executemany(
            "UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?",
            [(str(artifacts), experiment) for experiment, _ in experiments],
        )
        opened.executemany(
            "UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?",
            [(str(artifacts / run / "artifacts"), run) for run in moved],
        )
    old = {place for _, place in experiments} | {str(Path(uri).parents[1]) for _, uri, _ in rows}
    return Relocation(sorted(old), len(moved), len(rows) - len(moved)) if experiments or moved else None
