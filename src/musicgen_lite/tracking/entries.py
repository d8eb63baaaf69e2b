"""Logging to a run so that logging twice changes nothing."""

import io
import json
import re
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musicgen_lite.errors import UserError
from musicgen_lite.tracking.connection import Connection

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import Metric
    from mlflow.entities import Run as MlflowRun

# MLflow's limits for one request.
PARAMS_PER_BATCH = 100
TAGS_PER_BATCH = 100
METRICS_PER_BATCH = 1000
ABSENT = "RESOURCE_DOES_NOT_EXIST"


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested parameters as `{"train.steps": "600"}`; lists become JSON."""
    flat: dict[str, str] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return flat


def _batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


def metric(key: str, value: float, milliseconds: int, step: int, model_id: str | None = None) -> "Metric":
    """A metric's value at `step`, of a logged model too; characters that MLflow refuses in a name become `_`."""
    from mlflow.entities import Metric

    return Metric(re.sub(r"[^\w/. -]", "_", key), float(value), milliseconds, step, model_id=model_id)


def active_run(connection: Connection, run_id: str) -> "MlflowRun | None":
    """The run, unless it does not exist, is deleted, or belongs to another experiment."""
    from mlflow.exceptions import MlflowException

    try:
        run = connection.client.get_run(run_id)
    except MlflowException as error:
        if error.error_code == ABSENT:
            return None
        raise
    here = run.info.lifecycle_stage == "active" and run.info.experiment_id == connection.experiment_id
    return run if here else None


def log_parameters(connection: Connection, run_id: str, params: Mapping[str, str], tags: Mapping[str, str]) -> None:
    """Log parameters and set tags. MLflow refuses to change a parameter, but accepts an equal value."""
    from mlflow.entities import Param, RunTag

    for batch in _batches(params.items(), PARAMS_PER_BATCH):
        connection.client.log_batch(run_id, params=[Param(key, value) for key, value in batch])
    for batch in _batches(tags.items(), TAGS_PER_BATCH):
        connection.client.log_batch(run_id, tags=[RunTag(key, value) for key, value in batch])


def log_curves(connection: Connection, run_id: str, curves: Iterable[Mapping[str, Any]]) -> None:
    """Log those points of the curves that the run lacks. Each entry has a `step` and numbers by name."""
    now = int(time.time() * 1000)
    points = [
        metric(key, value, now, int(entry["step"]))
        for entry in curves
        for key, value in entry.items()
        if key != "step" and isinstance(value, int | float)
    ]
    logged = {
        key: {point.step for point in connection.client.get_metric_history(run_id, key)}
        for key in sorted({point.key for point in points})
    }
    missing = [point for point in points if point.step not in logged[point.key]]
    for batch in _batches(missing, METRICS_PER_BATCH):
        connection.client.log_batch(run_id, metrics=batch)


def log_scores(
    connection: Connection, run: "MlflowRun", scores: Mapping[str, float], model_id: str | None = None
) -> None:
    """Log each score whose value the run lacks; for its logged model too."""
    now = int(time.time() * 1000)
    points = [metric(key, value, now, 0, model_id) for key, value in scores.items()]
    for batch in _batches((p for p in points if run.data.metrics.get(p.key) != p.value), METRICS_PER_BATCH):
        connection.client.log_batch(run.info.run_id, metrics=batch)


def log_files(
    connection: Connection,
    run_id: str,
    contents: Mapping[str, bytes],
    files: Mapping[str, Path],
    tables: Mapping[str, "pd.DataFrame"],
) -> None:
    """Upload artifacts by path; one that exists is replaced. Tables also appear in MLflow's table comparison."""
    names = {name: name if name.endswith(".json") else f"{name}.json" for name in tables}
    with tempfile.TemporaryDirectory() as folder:
        stage = Path(folder)
        for path, content in contents.items():
            _new(stage, path).write_bytes(content)
        for path, source in files.items():
            if not source.is_file():
                raise UserError(f"{source}: this artifact of the run is missing; run `dvc repro` to make it")
            _new(stage, path).symlink_to(source.resolve())
        for name, path in names.items():
            # The layout of MlflowClient.log_table, which itself appends to a table that is there already.
            buffer = io.StringIO()
            tables[name].to_json(buffer, orient="split", index=False, date_format="iso")
            _new(stage, path).write_text(buffer.getvalue(), encoding="utf-8")
        if any(stage.iterdir()):
            connection.client.log_artifacts(run_id, folder)
    listed = [{"path": path, "type": "table"} for path in names.values()]
    connection.client.set_tag(run_id, "mlflow.loggedArtifacts", json.dumps(listed))


def _new(stage: Path, path: str) -> Path:
    target = stage / path
    target.parent.mkdir(parents=True, exist_ok=True)
    return target
