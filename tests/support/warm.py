"""Commands of the pipeline that begin with its packages imported: most of a tiny stage's time is the import of them.

`PATH` is the environment's `bin` with `python`, `dvc` and `musicgen-lite` that ask a server, a process which has imported what
others wrote and nothing of this project. It forks itself, and the fork runs what `python -m MODULE …` would have run, with the
caller's folder, environment, arguments, files and signals. A process whose environment says other things to those packages, or
that runs no module, is started as always. What a test kills, interrupts or orphans is better started without it.
"""

import atexit
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path

CLIENT = Path(__file__).with_name("warm_client.py")
SERVER = Path(__file__).with_name("warm_server.py")
COMMANDS = ("python", "dvc", "musicgen-lite")


def warmed(environment: Mapping[str, str]) -> dict[str, str]:
    """`environment` with the commands first on its PATH."""
    return {**environment, "PATH": f"{_commands(tuple(environment.items()))}{os.pathsep}{environment['PATH']}"}


@cache
def _commands(environment: tuple[tuple[str, str], ...]) -> str:
    """The folder of the commands, with a server of this environment that ends with this process."""
    folder = tempfile.TemporaryDirectory(prefix="warm-")
    address = Path(folder.name) / "socket"
    for name in COMMANDS:
        command = Path(folder.name) / name
        command.write_text(f"#!{sys.executable} -SEs\n{CLIENT.read_text()}")
        command.chmod(0o755)
    (Path(folder.name) / "settings.json").write_text(
        json.dumps({"socket": str(address), "python": sys.executable, "environment": dict(environment)})
    )
    server = subprocess.Popen([sys.executable, SERVER, address], env=dict(environment), process_group=0)
    while not address.exists():
        time.sleep(0.01)
    atexit.register(folder.cleanup)
    atexit.register(server.send_signal, signal.SIGTERM)
    return folder.name
