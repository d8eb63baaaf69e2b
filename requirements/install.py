"""Make the environment `.venv` from the hashed lock: standard library only, run by any python3.

The lock decides what is installed, whatever the machine's own package configuration offers: every file's hash is
checked. uv installs; where it cannot, pip does the same more slowly.
"""

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
VENV = HERE.parent / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
SUPPORTED = ((3, 11), (3, 13))
COMMAND = """#!{python}
import sys

sys.path.insert(0, {source!r})
from musicgen_lite.cli import app

app()
"""


def fail(message: str) -> None:
    sys.exit(f"error: {message}")


def call(*command: str) -> bool:
    return subprocess.run(command, check=False).returncode == 0


def link() -> None:
    """Let the environment import this tree's src, and give it the command `musicgen-lite`.

    Stages of a queued experiment put their own copy's src first, so that they never see this one.
    """
    source = HERE.parent / "src"
    for packages in (*VENV.glob("lib/python*/site-packages"), *VENV.glob("Lib/site-packages")):
        (packages / "musicgen_lite.pth").write_text(f"{source}\n", encoding="utf-8")
    command = PYTHON.parent / "musicgen-lite"
    command.write_text(COMMAND.format(python=PYTHON, source=str(source)), encoding="utf-8")
    command.chmod(0o755)


def main() -> None:
    if not SUPPORTED[0] <= sys.version_info[:2] <= SUPPORTED[1]:
        fail(
            f"this is Python {sys.version.split()[0]} ({sys.executable}); Python 3.11, 3.12 or 3.13 is needed: "
            "name one with `make PYTHON=python3.12 …`"
        )
    lock, bootstrap = HERE / "lock.txt", HERE / "bootstrap.txt"
    stamp = VENV / f"installed-{hashlib.sha256(lock.read_bytes()).hexdigest()[:16]}"
    if stamp.exists():
        link()  # the tree may have been moved
        return
    started = time.monotonic()
    print("Setting up .venv from requirements/lock.txt (about 6 GB on Linux, CUDA libraries included) …", flush=True)
    if not PYTHON.exists() and not call(sys.executable, "-m", "venv", str(VENV)):
        fail(
            "python3 -m venv failed; on Debian and Ubuntu install the package python3-venv, remove .venv and try again"
        )
    pip = (
        str(PYTHON),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--require-hashes",
        "--no-deps",
    )
    with_uv = call(*pip, "-r", str(bootstrap)) and call(
        str(PYTHON),
        "-m",
        "uv",
        "pip",
        "install",
        "--python",
        str(PYTHON),
        "--require-hashes",
        "--no-deps",
        "-r",
        str(lock),
    )
    if not with_uv:
        print("uv could not install the lock; trying pip …", flush=True)
        if not call(*pip, "-r", str(lock)):
            fail("the packages of requirements/lock.txt could not be installed; the lines above say which one and why")
    link()
    stamp.touch()
    print(f"Environment ready in {time.monotonic() - started:.0f} s.", flush=True)


if __name__ == "__main__":
    main()
