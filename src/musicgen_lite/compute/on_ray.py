"""The engine on Ray: one on this machine, or a cluster. Only this package imports Ray, and only where it is chosen."""

import os
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import musicgen_lite
from musicgen_lite.compute.packages import versions
from musicgen_lite.compute.pool import Pool, Room
from musicgen_lite.compute.work import Work
from musicgen_lite.errors import UserError, first_line, require

# Settings of the process that a worker needs as well, besides those that Ray sets.
VARIABLES = (
    "HF_HUB_DISABLE_PROGRESS_BARS", "HF_HUB_OFFLINE", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS",
    "TOKENIZERS_PARALLELISM", "TRANSFORMERS_OFFLINE", "TRANSFORMERS_VERBOSITY",
)  # fmt: skip
# Of a Ray of this machine: nothing is reported to anybody, and workers, niced by default, have the priority of this process.
OWN_RAY = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
ANSWER_S = 5.0
# Of HTTP/2, which Ray's head speaks: the client's preface with its settings, and the type of the server's answer.
PREFACE, SETTINGS = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", 4


class OnRay:
    """Runs work on Ray's workers; see `Engine`.

    address: of a cluster, as `ray.init` takes it; empty starts a Ray of this machine. workers: processes that compute; 0 is
    as many as fit. threads, gpus: of each worker. UserError where Ray is missing or the cluster does not answer.
    """

    here = False

    def __init__(self, device: str, address: str = "", workers: int = 0, threads: int = 1, gpus: float = 0.0) -> None:
        self._ray = require("ray", extra="ray", purpose="compute.engine ray", otherwise="set compute.engine to local")
        self.device, self._address, self._room = device, address, Room(workers, threads, gpus)
        self._pool: Pool | None = None
        if address:
            check_answers(address)

    def map(self, work: Work[Any, Any, Any], pieces: Iterable[Any]) -> Iterator[Any]:
        """See `Engine.map`. Workers that have run this work before are used again, with the models that they hold."""
        self._connect()
        content = self._ray.cloudpickle.dumps(work)
        if self._pool is None or self._pool.content != content:
            self._stop()
            self._pool = Pool(self._ray, self._room, content, versions())
        yield from self._pool.map(work.name, pieces)

    def close(self) -> None:
        """End the workers, and the Ray of this machine."""
        self._stop()
        self._ray.shutdown()

    def _stop(self) -> None:
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def _connect(self) -> None:
        """Start or join Ray, once. The workers import this process's own tree, which travels with it."""
        if self._ray.is_initialized():
            return
        os.environ.update(OWN_RAY | os.environ)
        own = {} if self._address else {"num_cpus": max(os.cpu_count() or 1, self._room.workers * self._room.threads)}
        try:
            self._ray.init(
                self._address or "local", include_dashboard=None if self._address else False, log_to_driver=False,
                logging_level="ERROR", runtime_env=environment(), **own,
            )  # fmt: skip
        except (ConnectionError, RuntimeError, ValueError) as error:  # of an address, of versions, of what stands there
            raise UserError(
                f"compute.address: {self._address or 'empty'}: Ray {self._ray.__version__} cannot start there "
                f"({first_line(error)}); the cluster's Ray and Python must be those of this machine"
            ) from error


def environment() -> dict[str, Any]:
    """Ray's runtime environment: this process's own package, in a queued experiment that of its copy, and its settings."""
    settings = {name: os.environ[name] for name in VARIABLES if name in os.environ}
    # Ray would set it to the CPUs of the worker; here it is this process's, whose bytes the worker's must equal.
    settings["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS") or str(os.cpu_count() or 1)
    return {"py_modules": [str(Path(musicgen_lite.__file__).parent)], "env_vars": settings}


def check_answers(address: str) -> None:
    """Raise UserError within seconds where no cluster answers; an address without a port is left to Ray."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdecimal():
        return
    try:
        with socket.create_connection((host, int(port)), ANSWER_S) as connection:
            connection.settimeout(ANSWER_S)
            connection.sendall(PREFACE)
            if connection.recv(4)[3:] != bytes([SETTINGS]):
                raise OSError("something else than Ray answers")
    except (OSError, OverflowError) as error:
        raise UserError(
            f"compute.address: found {address!r}, where no Ray cluster answers ({first_line(error)}); start one with `ray "
            "start --head` and give the address that it prints, or leave compute.address empty for a Ray of this machine"
        ) from error
