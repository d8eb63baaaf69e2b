"""The MLflow run of a training: opened before it, logged to during it, left open for the scores."""

import hashlib
import json
import os
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from musicgen_lite.errors import first_line
from musicgen_lite.io.files import read_json, write_json
from musicgen_lite.params import TrackingParams
from musicgen_lite.tracking import provenance
from musicgen_lite.tracking.connection import Connection, Unreachable, connect, errors_as_unreachable, locate, warn
from musicgen_lite.tracking.entries import flatten, log_parameters, metric

TRAINED_BY = "trained_by"


class Run:
    """The run of a training, as a context manager around it.

    While it is open, system metrics are logged. A failure marks the run FAILED, and a resumed training reopens it;
    success leaves it RUNNING, because its scores follow. If the server fails during the training, that is reported once:
    the last stage logs what is missing.

    `record` is the content of `run.json`: id (of the training), run_id (of its run, or None), name, started (ISO 8601),
    params (flat), tags.
    """

    def __init__(self, record: dict[str, Any], connection: Connection | None) -> None:
        self.record = record
        self._connection = connection
        self._monitor: Any = None

    @property
    def loggers(self) -> list[Any]:
        """Lightning loggers of the run; none without a connection."""
        if self._connection is None:
            return []
        from musicgen_lite.tracking.lightning import RunLogger

        return [RunLogger(self._connection.place, self.record["run_id"], self.log)]

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Log a value of each metric at `step`. Never raises for an error of the server."""
        if self._connection is not None:
            now = int(time.time() * 1000)
            try:
                self._connection.client.log_batch(
                    self.record["run_id"], metrics=[metric(key, value, now, step) for key, value in metrics.items()]
                )
            except Exception as error:
                self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        warn(f"MLflow failed ({first_line(error)}); training goes on, and the last stage logs what is missing")
        self._connection = None

    def __enter__(self) -> "Run":
        if self._connection is not None:
            from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

            uri, run_id = self._connection.place.uri, self.record["run_id"]
            try:
                self._monitor = SystemMetricsMonitor(run_id, resume_logging=True, tracking_uri=uri)
                self._monitor.start()
            except Exception as error:
                self._give_up(error)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._monitor is not None:
            self._monitor.finish()
        if kind is not None and self._connection is not None:
            try:
                self._connection.client.set_terminated(self.record["run_id"], "FAILED")
            except Exception as failure:
                self._give_up(failure)


def _new_record(params: dict[str, str], tags: dict[str, str]) -> dict[str, Any]:
    digest = hashlib.sha256(json.dumps(params, sort_keys=True).encode()).hexdigest()[:6]
    kind = [params[key] for key in ("model.type", "model.pattern") if key in params]
    return {
        "id": uuid.uuid4().hex,
        "run_id": None,
        "name": provenance.experiment_name() or "-".join([*kind, digest]),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "params": params,
        "tags": tags,
    }


def is_first_process() -> bool:
    """Whether this is the process of rank 0, which alone logs: by what torchrun, Lightning or SLURM's srun tells it."""
    for names in (("RANK",), ("NODE_RANK", "LOCAL_RANK"), ("SLURM_PROCID",)):
        if told := [os.environ[name] for name in names if os.environ.get(name)]:
            return not any(map(int, told))
    return True


def begin(tracking: TrackingParams, root: str | Path, params: Mapping[str, Any], kept: str | Path) -> Run:
    """Open the run of a training, or reopen that of an interrupted one.

    params: nested parameters that the training depends on; logged flat (`train.steps`).
    kept: the file of the record beside the checkpoints; it exists where the training was interrupted. It is written
    before the run is opened, and the run is found by the training's id, one of its tags: no kill leaves an orphaned run.
    Where the server cannot be reached, raises Unreachable (a UserError) within seconds if `tracking.required` is true;
    else prints a warning, the record's `run_id` stays None, and `close` logs the run later.
    """
    tags = provenance.tags("train")
    kept = Path(kept)
    record = {**read_json(kept), "tags": tags} if kept.exists() else _new_record(flatten(params), tags)
    # A run that another experiment began takes the name of the one that goes on with it.
    record["name"] = provenance.experiment_name() or record["name"]
    if not is_first_process():
        return Run(record, None)
    write_json(kept, record)
    try:
        connection = connect(locate(tracking, root))
        with errors_as_unreachable(connection.place):
            _open_run(connection, record)
    except Unreachable as error:
        if tracking.required:
            raise
        warn(error)
        return Run(record, None)
    return Run(record, connection)


def _open_run(connection: Connection, record: dict[str, Any]) -> None:
    """Set the training's run to RUNNING, or create it; put its id into the record."""
    client = connection.client
    opened = client.search_runs([connection.experiment_id], f"tags.{TRAINED_BY} = '{record['id']}'")
    if opened:
        run = opened[0]
        client.update_run(run.info.run_id, status="RUNNING", name=record["name"])
    else:
        labels = {TRAINED_BY: record["id"], "train.started": record["started"]}
        run = client.create_run(connection.experiment_id, run_name=record["name"], tags=labels)
    record["run_id"] = run.info.run_id
    log_parameters(connection, record["run_id"], record["params"], record["tags"])
