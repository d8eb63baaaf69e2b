"""Make the environment `.venv` from the hashed lock, with this project in it: standard library only, run by any python3.

The lock decides what is installed, whatever the machine's own package configuration offers: every file's hash is
checked. uv installs; where it cannot, pip does the same more slowly. The project itself is installed editable: the
environment's command `musicgen-lite` and its imports are of this tree.
"""

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
TREE = HERE.parent
VENV = TREE / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
RECORD = VENV / "installed.txt"
# Found at once: what runs this may be a link within an environment that will be set aside.
BASE = str(Path(sys.executable).resolve())
SUPPORTED = ((3, 11), (3, 13))
HASHED = ("--require-hashes", "--no-deps")


def fail(message: str) -> None:
    sys.exit(f"error: {message}")


def call(*command: str) -> bool:
    return subprocess.run(command, check=False).returncode == 0


def pip(*arguments: str) -> bool:
    return call(str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments)


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@contextlib.contextmanager
def made_anew() -> Iterator[None]:
    """Set the environment aside while a new one is made; a failure gives it back."""
    before = VENV.with_name(".venv-before")
    shutil.rmtree(before, ignore_errors=True)
    VENV.rename(before)
    try:
        yield
    except BaseException:
        shutil.rmtree(VENV, ignore_errors=True)
        before.rename(VENV)
        raise
    shutil.rmtree(before)


def install_lock() -> None:
    print("Setting up .venv from requirements/lock.txt (about 6 GB on Linux, CUDA libraries included) …", flush=True)
    if not PYTHON.exists() and not call(BASE, "-m", "venv", str(VENV)):
        fail(
            "python3 -m venv failed; on Debian and Ubuntu install the package python3-venv, remove .venv and try again"
        )
    lock = str(HERE / "lock.txt")
    uv = (str(PYTHON), "-m", "uv", "pip", "install", "--python", str(PYTHON))
    if pip(*HASHED, "-r", str(HERE / "bootstrap.txt")) and call(*uv, *HASHED, "-r", lock):
        return
    print("uv could not install the lock; trying pip …", flush=True)
    if not pip(*HASHED, "-r", lock):
        fail("the packages of requirements/lock.txt could not be installed; the lines above say which one and why")


def install_project() -> None:
    """Everything that building it needs is in the lock, so that nothing is fetched."""
    if not pip("--no-deps", "--no-build-isolation", "--editable", str(TREE)):
        fail("the project itself could not be installed into .venv; the lines above say why")


def main() -> None:
    if not SUPPORTED[0] <= sys.version_info[:2] <= SUPPORTED[1]:
        fail(
            f"this is Python {sys.version.split()[0]} ({sys.executable}); Python 3.11, 3.12 or 3.13 is needed: "
            "name one with `make PYTHON=python3.12 …`"
        )
    wanted = [digest(HERE / "lock.txt"), str(TREE), digest(TREE / "pyproject.toml")]
    found = RECORD.read_text(encoding="utf-8").splitlines() if RECORD.exists() else []
    if found == wanted:
        return
    started = time.monotonic()
    # The environment's programs and its `activate` name the folder that it was made in.
    moved = bool(found) and found[1:2] != wanted[1:2]
    with made_anew() if moved else contextlib.nullcontext():
        RECORD.unlink(missing_ok=True)  # what is killed half way starts again
        if moved or found[:1] != wanted[:1]:
            install_lock()
        install_project()
        RECORD.write_text("\n".join(wanted), encoding="utf-8")
    print(f"Environment ready in {time.monotonic() - started:.0f} s.", flush=True)


if __name__ == "__main__":
    main()
