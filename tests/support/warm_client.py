"""The text of each warm command; see `warm`."""

import array
import json
import os
import signal
import socket
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
# What differs from the server's environment, and is read by nothing that it has imported.
FREE = (
    "DVC_", "GIT_", "MUSICGEN_LITE_", "PATH", "PWD", "OLDPWD", "SHLVL", "_", "PYTEST_", "COLUMNS", "LINES", "TERM", "PAGER",
    "PS1", "CELERY_", "CLICOLOR", "FORCE_COLOR", "IPYTHON", "JPY_", "PYDEVD_", "MPLBACKEND", "AWS_", "PG",
    "KMP_DUPLICATE_LIB_OK", "TORCHINDUCTOR_CACHE_DIR",  # torch sets them when it is imported, as it was by the server
)  # fmt: skip


def asked(command: str, words: list[str]) -> tuple[str, list[str]] | None:
    """What is to be run as a module, and with which arguments; None for all else."""
    if command == "python":
        return (words[1], words[2:]) if words[:1] == ["-m"] else None
    return {"dvc": "dvc", "musicgen-lite": "musicgen_lite"}[command], words


def same(one: dict[str, str], other: dict[str, str]) -> bool:
    """Whether both environments say the same to what the server has imported."""
    names = {name for name in {*one, *other} if one.get(name) != other.get(name)}
    return all(name.startswith(FREE) for name in names)


def main() -> None:
    with open(os.path.join(HERE, "settings.json")) as file:
        settings = json.load(file)
    command, words = os.path.basename(__file__), sys.argv[1:]
    found = asked(command, words)
    if found is None or not same(dict(os.environ), settings["environment"]):
        real = os.path.join(os.path.dirname(settings["python"]), command)
        os.execv(real, [real, *words])
    server = socket.socket(socket.AF_UNIX)
    server.connect(settings["socket"])
    request = json.dumps([found[0], found[1], os.getcwd(), dict(os.environ)]).encode()
    files = array.array("i", [0, 1, 2])
    server.sendmsg([len(request).to_bytes(4, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, files)])
    server.sendall(request)
    answers = server.makefile()
    process = int(answers.readline())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2):
        signal.signal(number, lambda number, frame: os.kill(process, number))
    status = os.waitstatus_to_exitcode(int(answers.readline()))
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    raise SystemExit(status)


main()
