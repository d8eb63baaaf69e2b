"""One MLflow run per distinct result: a view of what DVC keeps, which can be logged again from files at any time.

Only this package knows MLflow. Importing it is light; MLflow itself (4 s) is loaded when a run is opened or logged.

- `begin` opens the run before a training, and gives the record that stays beside the model (`run.json`).
- `find` looks up, in milliseconds, the complete run of a result.
- `close` logs a result: to its training's run, or to a new one that repeats the training's parameters and curves.
- `finished` lists finished runs.
- `read` loads finished runs by name or id, with their tables and sounds.
- `model_file` and `tracked_model` give the model of a run or of a models:/ URI of the registry.
- `aliases` lists those of the model registry.
- `ui` opens MLflow at the comparison of all runs.
- `leftovers` finds artifacts that no run needs; `discard` removes them.
"""

from musicgen_lite.tracking.aliases import aliases
from musicgen_lite.tracking.connection import from_environment
from musicgen_lite.tracking.housekeeping import Leftovers, discard, leftovers
from musicgen_lite.tracking.logged import ModelFile
from musicgen_lite.tracking.model_files import TrackedModel, model_file, run_of, tracked_model
from musicgen_lite.tracking.provenance import commit
from musicgen_lite.tracking.results import Listed, Result, finished, read
from musicgen_lite.tracking.runs import RunRef, close, find
from musicgen_lite.tracking.training import Run, begin, is_first_process, warn
from musicgen_lite.tracking.ui import ui

__all__ = [
    "Leftovers",
    "Listed",
    "ModelFile",
    "Result",
    "Run",
    "RunRef",
    "TrackedModel",
    "aliases",
    "begin",
    "close",
    "commit",
    "discard",
    "find",
    "finished",
    "from_environment",
    "is_first_process",
    "leftovers",
    "model_file",
    "read",
    "run_of",
    "tracked_model",
    "ui",
    "warn",
]  # fmt: skip
