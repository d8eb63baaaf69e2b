"""What the toy's stages share: parameters, the main repository, a journal of what ran, and faults on demand."""

import hashlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(os.environ.get("DVC_ROOT", ".")).resolve()
PARAMS: dict[str, Any] = YAML(typ="safe").load(Path("params.yaml").read_text(encoding="utf-8"))
MODEL = Path("data/model/model.bin")
RUN = Path("data/model/run.json")
CURVES = Path("data/model/curves.json")
SAMPLES = Path("data/samples/samples.json")
SCORE = Path("metrics/score.json")


def journal(line: str) -> None:
    with (ROOT / "journal.txt").open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def fault(place: str) -> None:
    """`TOY_FAULT=<place>:kill` ends the process there, `:raise` fails, `:stop=<id>` kills a process group."""
    where, _, what = os.environ.get("TOY_FAULT", "").partition(":")
    if where != place:
        return
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "raise":
        sys.exit(f"fault in {place}")
    if what.startswith("stop="):
        os.killpg(int(what.removeprefix("stop=")), signal.SIGKILL)


def digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2), encoding="utf-8")


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
