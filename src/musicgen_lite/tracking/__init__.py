"""One MLflow row per distinct result: a view of what DVC keeps, which can be written again from files at any time.

This package is the only place that knows MLflow. Importing it is light; MLflow itself (4 s) is loaded when a row is
opened or written.

- `begin` opens the row before a training, and gives the record that is kept beside the model (`run.json`).
- `find` says in milliseconds whether a result has its complete row.
- `close` writes that row: into the training's own, or into a new one that repeats the training's parameters and curve.
- `read` gives finished rows back, by name or id, with their tables and sounds.
- `ui` opens MLflow at the comparison of all rows.
- `leftovers` finds artifacts that no row needs, and `discard` removes them.
"""

from musicgen_lite.tracking.housekeeping import Leftovers, discard, leftovers
from musicgen_lite.tracking.provenance import commit
from musicgen_lite.tracking.results import Result, read
from musicgen_lite.tracking.runs import Row, close, find
from musicgen_lite.tracking.training import Run, begin, is_first_process, warn
from musicgen_lite.tracking.ui import ui

__all__ = [
    "Leftovers", "Result", "Row", "Run", "begin", "close", "commit", "discard", "find", "is_first_process", "leftovers",
    "read", "ui", "warn",
]  # fmt: skip
