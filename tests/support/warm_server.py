"""Forks processes that have imported the pipeline's packages; see `warm`."""

import array
import atexit
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
import threading
from contextlib import suppress
from types import ModuleType
from typing import NoReturn

PACKAGES = (
    "torch", "transformers.modeling_utils", "transformers.models.encodec.modeling_encodec", "transformers.models.t5.modeling_t5",
    "transformers.models.clap.modeling_clap", "lightning.pytorch", "mlflow", "numba", "pandas", "scipy.signal", "soundfile",
    "librosa.feature", "numba.np.ufunc", "matplotlib.pyplot", "pyarrow.dataset", "pyarrow.parquet", "mlflow.pyfunc",
    "mlflow.store.tracking.sqlalchemy_store", "mlflow.store.model_registry.sqlalchemy_store", "alembic.autogenerate", "peft",
    "ruamel.yaml", "dvc.cli.parser", "dvc.repo", "typer", "rich.console", "omegaconf", "threadpoolctl", "alembic.command",
    "sqlalchemy.dialects.sqlite", "transformers.models.clap.feature_extraction_clap", "transformers.models.dac.modeling_dac",
    "transformers.models.xcodec.modeling_xcodec", "librosa.feature.spectral", "librosa.filters", "librosa.onset",
)  # fmt: skip
# As the package `stages` sets them before its first import.
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true", "TOKENIZERS_PARALLELISM": "false", "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}  # fmt: skip

Request = tuple[str, list[str], str, dict[str, str]]


def receive(client: socket.socket) -> tuple[Request, list[int]]:
    """What is asked for, and the caller's input, output and error output."""
    files = array.array("i")
    head, ancillary, _, _ = client.recvmsg(4, socket.CMSG_SPACE(3 * files.itemsize))
    files.frombytes(ancillary[0][2])
    return json.loads(client.makefile("rb").read(int.from_bytes(head, "big"))), list(files)


def become(request: Request, files: list[int]) -> NoReturn:
    """Turn this process, just forked, into one that was started by the caller, and run its module."""
    module, words, folder, environment = request
    for target, file in enumerate(files):
        os.dup2(file, target)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    sys.orig_argv = [sys.executable, "-m", module, *words]
    sys.argv = ["-m", *words]
    sys.path[0] = folder
    _end(_status(module))


def _status(module: str) -> int:
    """Run a module as a program; its exit status, negative where Ctrl-C ended it."""
    try:
        main = ModuleType("__main__")
        vars(main).update(runpy.run_module(module, run_name="__main__", alter_sys=True))
        sys.modules["__main__"] = main  # until the end, as with `python -m`
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        return -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
    return 0


def _end(status: int) -> NoReturn:
    """End as Python does, but for freeing what was imported: that would copy all of the server's memory first."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


def serve(listener: socket.socket) -> tuple[Request, list[int]]:
    """Answer until SIGTERM; returns in a forked process what that is to become."""
    woken, wakes = socket.socketpair()
    woken.setblocking(False)
    wakes.setblocking(False)
    signal.set_wakeup_fd(wakes.fileno())
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    clients: dict[int, socket.socket] = {}  # by the process that was started for each
    while True:
        ready = select.select([listener, woken, *clients.values()], [], [])[0]
        if listener in ready:
            client, _ = listener.accept()
            request, files = receive(client)
            process = os.fork()
            if not process:
                for one in (listener, woken, wakes, client, *clients.values()):
                    one.close()
                return request, files
            for file in files:
                os.close(file)
            client.sendall(f"{process}\n".encode())
            clients[process] = client
            continue
        if woken in ready:
            woken.recv(4096)
        for process, client in list(clients.items()):
            if client in ready and not client.recv(1):
                os.kill(process, signal.SIGKILL)  # as its caller was
            done, status = os.waitpid(process, os.WNOHANG)
            if done:
                with suppress(OSError):
                    client.sendall(f"{status}\n".encode())
                clients.pop(process).close()


door = socket.socket(socket.AF_UNIX)
door.bind(sys.argv[1])
door.listen(64)  # who comes early waits
os.environ.update(QUIET)
for package in PACKAGES:
    with suppress(ImportError):  # of an extra that is not installed
        importlib.import_module(package)
gc.freeze()  # for good: a collection in a fork would copy what it visits
become(*serve(door))
