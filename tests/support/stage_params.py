"""Small parameters for a stage."""

from pathlib import Path
from typing import Any

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
