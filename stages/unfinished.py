"""Where interrupted work is kept: folders named by everything that decides what the work gives."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from musicgen_lite.params import Params
from stages.common import root


def unfinished(stage: str, params: Params, *facts: str) -> Path:
    """The folder for what a killed `stage` had done, for `store.resumable_dir`.

    Its name hashes what dvc.yaml declares for the stage, values of parameters and contents of files, and the `facts` that
    it does not know: fingerprints of models from outside, the device.
    """
    declared = YAML(typ="safe").load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"][stage]
    values: dict[str, Any] = {}
    for name in declared["params"]:
        value: Any = params.model_dump(mode="json")
        for key in name.split("."):
            value = value[key]
        values[name] = value
    files = (
        file for dep in map(Path, declared["deps"]) for file in (sorted(dep.rglob("*")) if dep.is_dir() else [dep])
    )
    return folder_of([stage, values, facts], (file for file in files if file.is_file() and file.suffix != ".pyc"))


def folder_of(facts: Any, files: Iterable[Path]) -> Path:
    """A folder in the main repository, even where a queued copy runs, named by a hash of `facts` and `files`."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for path in files:
        with path.open("rb") as file:
            digest.update(path.as_posix().encode() + hashlib.file_digest(file, "sha256").digest())
    return root() / "checkpoints" / digest.hexdigest()[:16]
