"""Where a result comes from: commit, experiment, environment and the digests in dvc.lock."""

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ruamel.yaml import YAML

from musicgen_lite.io.hashing import SHORT, file_sha256

# What DVC writes itself, and parameters, which a run has anyway: changes here do not change a result's code.
WRITTEN_BY_DVC = ("dvc.lock", "params.yaml", "data/", "metrics/")


def _git(*arguments: str) -> str | None:
    """What git prints for the tree in the working directory, or None where there is no repository."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def dirty_files() -> list[str]:
    """Paths that differ from the commit, without those that DVC writes itself."""
    status = _git("status", "--porcelain", "-z", "--untracked-files=all", "--no-renames") or ""
    paths = [entry[3:] for entry in status.split("\0") if entry]
    return [path for path in paths if not path.startswith(WRITTEN_BY_DVC)]


def commit() -> str | None:
    """The commit of the tree in the working directory; None where there is no repository, or no commit in it."""
    found = _git("rev-parse", "--verify", "HEAD")
    return found.strip() if found else None


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _gpu() -> str:
    """The name of the GPU that this process may use. A process that has not loaded PyTorch uses none."""
    torch = sys.modules.get("torch")
    return torch.cuda.get_device_name() if torch is not None and torch.cuda.is_available() else "none"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def experiment_name() -> str | None:
    """The name under which `dvc exp run` runs this; plain `dvc repro` gives none."""
    return os.environ.get("DVC_EXP_NAME") or None


def tags(step: str) -> dict[str, str]:
    """Tags `<step>.*` that tell where the code in the working directory and this process come from."""
    head = commit()
    lock = Path("requirements/lock.txt")
    found = {
        "commit": head or "none",
        "dirty": str(bool(dirty_files())).lower() if head else "none",
        "experiment": experiment_name() or "none",
        "baseline": os.environ.get("DVC_EXP_BASELINE_REV") or "none",
        "requirements": file_sha256(lock)[:SHORT] if lock.exists() else "none",
        "python": platform.python_version(),
        "torch": _version("torch"),
        "cpu": f"{_cpu()} x {os.cpu_count()}",
        "gpu": _gpu(),
    }
    return {f"{step}.{name}": value for name, value in found.items()}


def digests() -> dict[str, str]:
    """A tag `dvc.<stage>` for every stage in dvc.lock: its outputs with their MD5s, as DVC holds them at this moment."""
    lock = Path("dvc.lock")
    if not lock.exists():
        return {}
    stages = (YAML(typ="safe").load(lock.read_text(encoding="utf-8")) or {}).get("stages", {})
    return {
        f"dvc.{name}": " ".join(f"{out['path']}:{out.get('md5', 'none')}" for out in stage["outs"])
        for name, stage in stages.items()
        if stage.get("outs")
    }
