"""MLflow's own pages, started lightly and opened at the comparison of all rows."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from musicgen_lite.errors import UserError
from musicgen_lite.params import TrackingParams
from musicgen_lite.tracking.connection import DATABASE, QUIET, Connection, connect, locate

PORTS = range(5000, 5020)
PATIENCE_S = 180.0


def comparison(address: str, connection: Connection) -> str:
    """The link to charts of all rows side by side. MLflow would otherwise open its pages for language models."""
    view = "workflowType=machine_learning&compareRunsMode=CHART"
    return f"{address}/#/experiments/{connection.experiment_id}/runs?{view}"


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


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def ui(tracking: TrackingParams, root: str | Path) -> None:
    """Print the link to the comparison of all rows; for a local database serve MLflow until Ctrl-C.

    Raises UserError where no row was ever written, no port is free, or MLflow does not start.
    """
    place = locate(tracking, root)
    if place.database and not place.database.exists():
        raise UserError(f"{place.database}: no {DATABASE} yet; `dvc repro` writes the first row")
    connection = connect(place)
    if place.is_server:
        print(comparison(place.uri, connection))
        return
    port = _free_port()
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", place.uri]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    # The job runner would start a dozen more processes.
    light = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    print("starting MLflow …", flush=True)
    server = subprocess.Popen(command, env={**os.environ, **QUIET, **light})
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not _answers(address):
            if server.poll() is not None or time.monotonic() > deadline:
                raise UserError(f"{address}: MLflow did not start; its own messages are above")
            time.sleep(0.5)
        print(f"compare all rows: {comparison(address, connection)}\nCtrl-C ends it", flush=True)
        server.wait()
    except KeyboardInterrupt:
        pass
    finally:
        server.terminate()
        server.wait()
