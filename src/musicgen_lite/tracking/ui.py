"""MLflow's own pages, opened at the comparison of all runs."""

import json
import os
import socket
import sys
from pathlib import Path
from typing import Literal

from musicgen_lite.errors import UserError, first_line
from musicgen_lite.params import TrackingParams
from musicgen_lite.tracking.connection import DATABASE, PORTS, QUIET, Connection, connect, locate
from musicgen_lite.tracking.training import warn

VIEW = "musicgen-lite"
PARAMS = ("model.type", "model.pattern", "train.init", "train.steps")
METRICS = ("nll", "caption_gain", "clap", "judge", "fad", "fad_codec", "fad_mel", "pulse", "tempo", "parameters")


def _view() -> str:
    """A shared view in MLflow's own format: the columns that matter, newest run first.

    A link cannot name columns, but it can name a view that is stored with the experiment.
    """
    columns = [f"params.`{name}`" for name in PARAMS] + [f"metrics.`{name}`" for name in METRICS]
    state = {"selectedColumns": ["attributes.`Created`", *columns], "columnOrder": []}
    return json.dumps({**state, "orderByKey": "attributes.start_time", "orderByAsc": False})


def share_view(connection: Connection) -> bool:
    """Store the view with the experiment; False where the server refuses, and shows its default columns."""
    from mlflow.exceptions import MlflowException

    tag, view = f"mlflow.sharedViewState.{VIEW}", _view()
    try:
        experiment = connection.client.get_experiment(connection.experiment_id)
        if experiment.tags.get(tag) != view:
            connection.client.set_experiment_tag(connection.experiment_id, tag, view)
    except MlflowException as error:
        warn(f"the columns that matter could not be kept in MLflow ({first_line(error)}); choose them there")
        return False
    return True


def comparison(address: str, connection: Connection, mode: Literal["TABLE", "CHART"], shared: bool = True) -> str:
    """The link to all runs side by side. MLflow would otherwise open its pages for language models."""
    view = f"workflowType=machine_learning&compareRunsMode={mode}" + (f"&viewStateShareKey={VIEW}" if shared else "")
    return f"{address}/#/experiments/{connection.experiment_id}/runs?{view}"


def _links(address: str, connection: Connection) -> str:
    shared = share_view(connection)
    table, charts = (comparison(address, connection, mode, shared) for mode in ("TABLE", "CHART"))
    return f"compare all runs:   {table}\nthe same as charts: {charts}"


def _free_port() -> int:
    for port in PORTS:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise UserError(f"ports {PORTS.start}-{PORTS.stop - 1}: all are in use; stop the program that listens on one")


def ui(tracking: TrackingParams, root: str | Path) -> None:
    """Print the link to the comparison of all runs; for a local database become MLflow's server, until Ctrl-C.

    Raises UserError where there is no run yet, or no port is free.
    """
    place = locate(tracking, root)
    if place.database and not place.database.exists():
        raise UserError(f"{place.database}: no {DATABASE} yet; `dvc repro` logs the first run")
    print("starting MLflow …", flush=True)
    connection = connect(place)
    if place.is_server:
        print(_links(place.uri, connection))
        return
    port = _free_port()
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", place.uri]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1", "--uvicorn-opts", "--no-access-log"]
    # The job runner would start a dozen more processes, and one that only waits for the server would be another.
    light = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PYTHONWARNINGS": "ignore"}
    print(
        f"{_links(f'http://127.0.0.1:{port}', connection)}\nMLflow answers there within half a minute; Ctrl-C ends it",
        flush=True,
    )
    os.execve(sys.executable, command, {**os.environ, **QUIET, **light})
