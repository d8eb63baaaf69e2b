"""A folder in which a stage runs, and its parameters."""

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from musicgen_lite import params

ROOT = Path(__file__).parent.parent.parent


def parameters(**data: Any) -> params.Params:
    """The shipped parameters with some of `data` changed; `musiccaps__url` stands for data.musiccaps.url."""
    tree = YAML(typ="safe").load((ROOT / "params.yaml").read_text())
    tree["data"] |= {"rate": 8000, "seconds": 2.0, "prompt_seconds": 1.0}
    tree["train"]["crop_seconds"] = tree["sample"]["seconds"] = 1.0
    for name, value in data.items():
        section, _, key = name.rpartition("__")
        (tree["data"][section] if section else tree["data"])[key] = value
    return params.parse(tree)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A queued experiment's copy of the tree: it works there, and the repository is elsewhere."""
    copy = tmp_path / "copy"
    copy.mkdir()
    monkeypatch.chdir(copy)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "repository"))
    return tmp_path
